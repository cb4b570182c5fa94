"""The zoo's character model with weights of few bits: ways of rounding them.

    python -m benchmarks.weight_rounding [--bits 2 4 8] [--channel-bits 3 4 6 8] [--roundings nearest gptq ...] [--block-size 32]

Weights alone in blocks (`scheme='weights'`), and weights with one scale for each channel and activations as int8 (`scheme='dynamic'`).
`bits a character` is the zoo's metric on its test text, as ONNX Runtime runs the saved file; `error` is |quantized - float| / |float| over
the logits of the first test rows; `won back` is the share of the loss by rounding to the nearest that a method makes up for. Calibration is
on rows of the training text. Target: at 4 bits, gptq below nearest in both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import TrainedModel, open_session, zoo
from benchmarks.zoo.sessions import Feeds
from netwright.ir.program import Program

ROUNDINGS = ("nearest", "hqq", "awq", "gptq", "adaround")

LEAST_LOSS = 5e-4
"""Bits a character that rounding to the nearest must lose for a share of it to mean anything."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all rows of the tables share."""

    model: TrainedModel
    program: Program
    calibration: Sequence[Mapping[str, np.ndarray]]
    probe: Feeds
    logits: np.ndarray
    whole: float
    folder: Path

    def row(self, options: str, rounding: str, nearest: float | None) -> tuple[Row, float]:
        """One way of rounding, and its score.

        Args:
            options: of quantize.
            rounding: the way.
            nearest: the score of rounding to the nearest, where that is known.
        """
        started = time.perf_counter()
        found = nw.compile(self.program, f"quantize({options}, rounding={rounding!r})", calibration=self.calibration)
        seconds = time.perf_counter() - started
        path = self.folder / "model.onnx"
        nw.save(found.program, path)
        run = open_session(path)
        score = self.model.evaluate(run).metrics[self.model.primary]
        logits = logits_of(path, self.probe)
        lost = None if nearest is None else nearest - self.whole
        row: Row = {
            "quantize": options,
            "rounding": rounding,
            self.model.primary: f"{score:.4f}",
            "error": round(float(np.linalg.norm(logits - self.logits) / np.linalg.norm(self.logits)), 4),
            "won back": None if lost is None or lost < LEAST_LOSS or nearest is None else f"{100 * (nearest - score) / lost:.0f} %",
            "fell back": sum("rounded to the nearest" in miss.reason for miss in found.program.ledger.misses),
            "kB": round(path.stat().st_size / 1000),
            "seconds": round(seconds, 1),
        }
        return row, score


def logits_of(path: Path, feeds: Feeds) -> np.ndarray:
    """The first output."""
    return np.asarray(next(iter(open_session(path)(feeds).values())), np.float64)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", type=int, nargs="*", default=[2, 4, 8], help="of weights in blocks")
    parser.add_argument("--channel-bits", type=int, nargs="*", default=[3, 4, 6, 8], help="of weights with a scale for each channel")
    parser.add_argument("--roundings", nargs="+", default=list(ROUNDINGS), choices=ROUNDINGS)
    parser.add_argument("--block-size", type=int, default=32)
    parser.add_argument("--rows", type=int, default=128, help="of the training text, for calibration")
    options = parser.parse_args()
    model = zoo["train_small_gpt"]
    assert isinstance(model, TrainedModel), "the zoo trains it"
    with tempfile.TemporaryDirectory() as folder:
        setting = _setting(model, options.rows, Path(folder))
        title = f"{model.name}: {model.primary} {setting.whole:.4f} in float"
        blocks = [f"scheme='weights', bits={bits}, block_size={options.block_size}" for bits in options.bits]
        if blocks:
            report(f"{title}; weights alone, in blocks", _rows(setting, blocks, options.roundings))
        channels = [f"scheme='dynamic', bits={bits}" for bits in options.channel_bits]
        if channels:
            report(f"{title}; weights by channel, int8 activations", _rows(setting, channels, options.roundings))


def _setting(model: TrainedModel, rows: int, folder: Path) -> Setting:
    program = nw.compile(nw.load(model.onnx()), "simplify").program
    split = model.way.split()
    text = split.inputs
    chosen = np.random.default_rng(0).choice(len(text), rows, replace=False)
    batches = [{model.way.input: text[chosen[start : start + 16]]} for start in range(0, rows, 16)]
    path = folder / "float.onnx"
    nw.save(program, path)
    probe = {model.way.input: split.test_inputs[:32]}
    score = model.evaluate(open_session(path)).metrics[model.primary]
    return Setting(model, program, batches, probe, logits_of(path, probe), score, folder)


def _rows(setting: Setting, settings: Sequence[str], roundings: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    for options in settings:
        nearest: float | None = None
        for rounding in roundings:
            row, score = setting.row(options, rounding, nearest)
            nearest = score if rounding == "nearest" else nearest
            rows.append(row)
            print(row, flush=True)
    return rows


if __name__ == "__main__":
    main()
