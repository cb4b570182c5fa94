"""Models that arrive as `.onnx` files, damaged and trained back: on labels, and toward the undamaged model without any.

`python -m benchmarks.finetune [MODEL ...] [--seeds N]`. Half of the output channels of every convolution and product, drawn at
random, lose their weights. What is left is a Program from a file; no source code of the network is used. Each is scored by the
zoo's metric on data that it was not trained on, as ONNX Runtime runs the saved file.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import onnx_ir
import torch
from scipy.ndimage import affine_transform  # pyright: ignore[reportUnknownVariableType]

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import ZooModel, zoo
from benchmarks.zoo.digit_cnn import normalised
from benchmarks.zoo.images import TRAINING_DIGITS, mnist
from benchmarks.zoo.sessions import open_session
from benchmarks.zoo.splits import digits, sentence_origins
from netwright.ir.opinfo import int_attr
from netwright.ir.program import Program, array
from netwright.training import Distill


class Resample(Protocol):
    """The part of scipy's `affine_transform` that is used, whose own signature has no types."""

    def __call__(self, image: np.ndarray, matrix: np.ndarray, offset: np.ndarray, *, order: int, mode: str) -> np.ndarray:
        """Each pixel from where `matrix` and `offset` send its place."""
        ...


Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained back.

    Attributes:
        data: its training rows, labels among them.
        steps: optimizer steps.
        batch: rows to a step.
        lr: highest learning rate.
        moved: whether the rows are images [n, 1, height, width], moved, turned and scaled at random.
    """

    data: Callable[[], Arrays]
    steps: int
    batch: int
    lr: float
    moved: bool = False

    def batches(self, seed: int, *, labelled: bool) -> Iterator[dict[str, np.ndarray]]:
        """One batch a step, rows drawn with replacement."""
        rng = np.random.default_rng(seed)
        data = self.data()
        count = len(data["labels"])
        for _ in range(self.steps):
            rows = rng.integers(0, count, self.batch)
            batch = {name: array[rows] for name, array in data.items() if labelled or name != "labels"}
            yield {name: moved(array, rng) if self.moved and name != "labels" else array for name, array in batch.items()}


def moved(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image turned by up to 12 degrees, scaled by 0.75 to 1.2 and moved by up to 3 pixels; what comes in is background."""
    result = np.empty_like(images)
    middle = (np.array(images.shape[-2:]) - 1) / 2
    for image, made in zip(images, result, strict=True):
        angle, zoom = np.deg2rad(rng.uniform(-12, 12)), rng.uniform(0.75, 1.2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
        offset = middle - turn @ (middle + rng.uniform(-3, 3, 2))
        made[0] = cast("Resample", affine_transform)(image[0], turn, offset, order=1, mode="nearest")
    return result


def _mnist() -> Arrays:
    pixels, labels = mnist()
    return {"x": normalised(pixels[:TRAINING_DIGITS]), "labels": labels[:TRAINING_DIGITS].astype(np.int64)}


def _digits() -> Arrays:
    split = digits()
    return {"x": split.inputs, "labels": split.labels.astype(np.int64)}


def _sentences() -> Arrays:
    split = sentence_origins()
    return {"ids": split.inputs, "labels": split.labels.astype(np.int64)}


RECIPES: Mapping[str, Recipe] = {
    "digit_cnn": Recipe(_mnist, 2500, 64, 2e-3, moved=True),
    "train_small_cnn": Recipe(_digits, 1500, 64, 1e-3, moved=True),
    "train_small_transformer": Recipe(_sentences, 1000, 64, 1e-3),
}


def damaged(program: Program, seed: int) -> Program:
    """A clone in which every convolution and product lost the weights of half of its output channels."""
    rng = np.random.default_rng(seed)
    copy = program.clone()
    with copy.edit() as editor:
        for node in copy.nodes("Conv", "MatMul", "Gemm"):
            weight = node.inputs[1]
            if weight is None or not weight.is_initializer() or weight.dtype is not onnx_ir.DataType.FLOAT:
                continue
            values = np.array(array(weight))
            axis = 0 if node.op_type == "Conv" or int_attr(node, "transB", 0) else values.ndim - 1
            lost = rng.permutation(values.shape[axis])[: values.shape[axis] // 2]
            values[(slice(None),) * axis + (lost,)] = 0
            editor.set_constant(weight, values)
    return copy


def scored(model: ZooModel, program: Program, folder: Path) -> float:
    """The zoo's primary metric of a program, as ONNX Runtime runs its file."""
    path = folder / "model.onnx"
    nw.save(program, path)
    return model.evaluate(open_session(path)).metrics[model.primary]


def main() -> None:
    """Damage, train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models or RECIPES:
            for seed in range(options.seeds):
                rows.append(_row(name, RECIPES[name], seed, Path(folder), options.threads))
    report("ONNX files, half of their channels' weights lost, trained back", rows)


def _row(name: str, recipe: Recipe, seed: int, folder: Path, threads: int) -> Row:
    model = zoo[name]
    original = nw.load(model.onnx())
    broken = damaged(original, seed)
    started = time.perf_counter()

    def trained(*, loss: str | None, teacher: Program | None) -> Program:
        return nw.train(
            broken,
            lambda: recipe.batches(seed, labelled=loss is not None),
            loss=loss,
            steps=recipe.steps,
            lr=recipe.lr,
            teacher=teacher,
            distill=None if teacher is None else Distill(outputs="soft", temperature=2.0),
            seed=seed,
            threads=threads,
        )

    labelled = trained(loss="cross_entropy", teacher=None)
    distilled = trained(loss=None, teacher=original)
    return {
        "model": name,
        "seed": seed,
        "metric": model.primary,
        "original": round(scored(model, original, folder), 4),
        "damaged": round(scored(model, broken, folder), 4),
        "labels": round(scored(model, labelled, folder), 4),
        "teacher, no labels": round(scored(model, distilled, folder), 4),
        "seconds": round(time.perf_counter() - started),
    }


if __name__ == "__main__":
    main()
