"""The zoo's text models with weights of 8, 4, 2 bits and ternary ones: ways of training to them, at equal steps and three seeds.

`python -m benchmarks.weight_bits [--models transformer gpt] [--bits 8 4 2 ternary] [--seeds N] [--steps N]`. The arms: rounding ·
straight-through with labels, no teacher · distil first, compress after · three models, outputs only · three models with hidden states
and attention; those with a teacher with labels and without. Every arm but rounding starts from the trained model and takes the same
steps on the same rows. The score is the zoo's metric of the product (accuracy, or bits per character), as ONNX Runtime runs its file;
`recovered` is the share of rounding's drop that an arm wins back. Compressed are the embedding tables (a scale for each row) and the
linear layers (a scale for each output channel, or one, with --per tensor); norms, biases, softmax and head stay float.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import TrainedModel, open_session, zoo
from netwright.ir.program import Program
from netwright.training import Distill
from netwright.training.compress import CompressionObjective

OUTPUTS = Distill(outputs="soft")
WHOLE = Distill(outputs="soft", hidden="auto", attention="auto")
LABELS_ALONE = Distill(output_weight=0.0)


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to get to compressed weights.

    Attributes:
        name: for the table.
        distill: what of the teacher is learned; None for rounding alone.
        labels: whether labels count.
        compressing: whether weights are compressed while training, or only afterwards.
    """

    name: str
    distill: Distill | None
    labels: bool
    compressing: bool = True


ARMS: Sequence[Arm] = (
    Arm("rounding", None, labels=False),
    Arm("straight-through, no teacher", LABELS_ALONE, labels=True),
    Arm("distil first, compress after", WHOLE, labels=True, compressing=False),
    Arm("three models: outputs", OUTPUTS, labels=True),
    Arm("three models: outputs, hidden, attention", WHOLE, labels=True),
    Arm("distil first, compress after", WHOLE, labels=False, compressing=False),
    Arm("three models: outputs", OUTPUTS, labels=False),
    Arm("three models: outputs, hidden, attention", WHOLE, labels=False),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What all arms share."""

    model: TrainedModel
    program: Program
    data: Mapping[str, np.ndarray]
    steps: int
    batch: int
    lr: float
    per: str
    threads: int
    folder: Path
    uncompressed: dict[tuple[bool, int], Program] = field(default_factory=dict[tuple[bool, int], Program])
    """What was trained before it is compressed: the same for all numbers of bits."""

    def run(self, arm: Arm, bits: int | str, seed: int) -> Program:
        """The product of one arm."""
        compressor = f"quantize(bits={bits!r}, per={self.per!r})"
        if arm.distill is None:
            return CompressionObjective(self.program, compressor).product()
        if arm.compressing:
            return self.trained(arm, seed, compressor)
        if (arm.labels, seed) not in self.uncompressed:
            self.uncompressed[arm.labels, seed] = self.trained(arm, seed, None)
        return CompressionObjective(self.uncompressed[arm.labels, seed], compressor).product()

    def trained(self, arm: Arm, seed: int, compressor: str | None) -> Program:
        """The model after an arm's steps."""
        assert arm.distill is not None, "rounding does not train"
        rows = {name: array for name, array in self.data.items() if arm.labels or name != "labels"}
        return nw.train(
            self.program,
            rows,
            loss="cross_entropy" if arm.labels else None,
            teacher=self.program,
            distill=arm.distill,
            compressor=compressor,
            steps=self.steps,
            batch_size=self.batch,
            lr=self.lr,
            seed=seed,
            threads=self.threads,
        )

    def score(self, program: Program) -> float:
        """The model's own metric."""
        path = self.folder / "model.onnx"
        nw.save(program, path)
        return self.model.evaluate(open_session(path)).metrics[self.model.primary]


def main() -> None:
    """Run the arms and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["transformer", "gpt"])
    parser.add_argument("--bits", nargs="+", default=["8", "4", "2", "ternary"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--per", choices=("row", "tensor"), default="row", help="a scale for each output channel, or one for each layer")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    for name in options.models:
        model = zoo[f"train_small_{name}"]
        assert isinstance(model, TrainedModel), "the zoo trains these"
        _measure(model, options)


def _measure(model: TrainedModel, options: argparse.Namespace) -> None:
    split = model.way.split()
    data = {model.way.input: split.inputs, "labels": split.labels.astype(np.int64)}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        program = nw.load(model.onnx())
        setting = Setting(model, program, data, options.steps, options.batch, options.lr, options.per, options.threads, Path(folder))
        whole = setting.score(program)
        for bits in (int(text) if text.isdigit() else text for text in options.bits):
            rounded = setting.score(setting.run(ARMS[0], bits, 0))
            for arm in ARMS:
                rows.append(_row(setting, arm, bits, whole=whole, rounded=rounded, seeds=options.seeds))
                print(rows[-1], flush=True)
    report(f"{model.name}: {model.primary} {whole:.4f} in float; weights of few bits, {options.steps} steps", rows)


def _row(setting: Setting, arm: Arm, bits: int | str, *, whole: float, rounded: float, seeds: int) -> Row:
    started = time.perf_counter()
    scores = [rounded] if arm.distill is None else [setting.score(setting.run(arm, bits, seed)) for seed in range(seeds)]
    mean = statistics.mean(scores)
    drop = whole - rounded
    worse = drop if setting.model.higher_is_better else -drop
    return {
        "bits": bits,
        "arm": arm.name,
        "labels": arm.labels,
        setting.model.primary: round(mean, 4),
        "spread": round(max(scores) - min(scores), 4),
        "recovered": None if arm.distill is None or worse < setting.model.point / 10 else f"{100 * (mean - rounded) / drop:.0f} %",
        "seconds a run": round((time.perf_counter() - started) / len(scores), 1),
    }


if __name__ == "__main__":
    main()
