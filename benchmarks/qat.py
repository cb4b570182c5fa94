"""Static quantization with weights of few bits, after training and while training: the same grids, the same data, few steps.

`python -m benchmarks.qat [--models NAME…] [--bits 8 4 3] [--steps N] [--seeds N]`. The arms: static quantization
alone, weights rounded to the nearest · the same, rounded by GPTQ · static quantization as QuantizeLinear and DequantizeLinear on float
weights, `recover` with labels, `fold` · the float model trained for as many steps and quantized then. Scores are the zoo's metric of the
folded file as ONNX Runtime runs it; training sees only the zoo's training rows. `equal` is the share of outputs of the folded model within
1e-5 of the outputs that torch computes of the trained one.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import TrainedModel, ZooModel, open_session, zoo
from benchmarks.zoo.digit_cnn import normalised
from benchmarks.zoo.images import TRAINING_DIGITS, mnist
from netwright.ir.program import Program

Rows = dict[str, np.ndarray]


def training_rows(model: ZooModel) -> Rows:
    """Labelled rows that the score does not use."""
    if isinstance(model, TrainedModel):
        split = model.way.split()
        return {model.way.input: split.inputs, "labels": split.labels.astype(np.int64)}
    images, labels = (part[:TRAINING_DIGITS] for part in mnist())
    return {"x": normalised(images), "labels": labels.astype(np.int64)}


def score(model: ZooModel, program: Program, folder: Path) -> float:
    """The model's metric of a program's file."""
    path = folder / "model.onnx"
    nw.save(program, path)
    return model.evaluate(open_session(path)).metrics[model.primary]


def shares_equal(trained: Program, folded: Program, rows: Rows, folder: Path) -> float:
    """The share of outputs on which torch and ONNX Runtime agree."""
    path = folder / "folded.onnx"
    nw.save(folded, path)
    feeds = {value.name or "": rows[value.name or ""][:256] for value in folded.inputs}
    theirs = open_session(path)(feeds)[folded.outputs[0].name or ""]
    with torch.no_grad():
        mine = nw.to_torch(trained)(*(torch.from_numpy(array) for array in feeds.values()))
    return float(np.isclose(mine.numpy(), theirs, rtol=1e-5, atol=1e-5).mean())


def measure(model: ZooModel, bits: int, options: argparse.Namespace, folder: Path) -> list[Row]:
    """The three arms at one number of bits."""
    program, rows = nw.load(model.onnx()), training_rows(model)
    calibration = model.feeds(8, batch=32)
    training = f"recover(steps={options.steps}, batch_size={options.batch}, lr={options.lr})"
    arms = {
        "after training": [f"quantize(scheme='static', bits={bits})", "fold"],
        "after training, GPTQ": [f"quantize(scheme='static', bits={bits}, rounding='gptq')", "fold"],
        "float trained, then quantized": [training, f"quantize(scheme='static', bits={bits})", "fold"],
        "while training": [f"quantize(scheme='static', bits={bits}, trainable=True)", training, "fold"],
    }
    whole = score(model, program, folder)
    found: list[Row] = []
    for name, steps in arms.items():
        scores: list[float] = []
        equal, seconds = 0.0, time.perf_counter()
        for seed in range(options.seeds if training in steps else 1):
            *first, last = steps
            trained = nw.compile(
                program, ", ".join(first), calibration=calibration, training=rows, loss="cross_entropy", seed=seed, threads=1, latency=False
            ).program
            folded = nw.compile(trained, last, latency=False).program
            scores.append(score(model, folded, folder))
            equal = shares_equal(trained, folded, rows, folder)
        found.append(
            {
                "bits": bits,
                "arm": name,
                "float": round(whole, 4),
                model.primary: round(statistics.mean(scores), 4),
                "spread": round(max(scores) - min(scores), 4),
                "equal": round(equal, 4),
                "seconds": round((time.perf_counter() - seconds) / len(scores), 1),
            }
        )
        print(model.name, found[-1], flush=True)
    return found


def main() -> None:
    """Measure and print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["digit_cnn", "train_small_resnet", "train_small_transformer"])
    parser.add_argument("--bits", nargs="+", type=int, default=[8, 4, 3])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            table = [row for bits in options.bits for row in measure(zoo[name], bits, options, Path(folder))]
            report(f"{name}: static quantization after and while training, {options.steps} steps", table)


if __name__ == "__main__":
    main()
