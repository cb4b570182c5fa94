"""Curves of zeros against a metric, and how two are compared at equal sparsity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import netwright as nw
from benchmarks._sparse_map_arms import Rows, fitting, model_of, score
from netwright.backends.onnxruntime import OrtExecutor
from netwright.codec import MapReport, measure_maps
from netwright.ir.program import Program
from netwright.metrics import MetricFunction

SHARES = (0.0, 0.4, 0.6, 0.7, 0.8, 0.9)
"""Of zeros in each map, that thresholds are made for."""
MEASURED = 50
"""Rows whose maps are encoded."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One quantized program at several thresholds, maps as int8.

    Attributes:
        zeros: the share of all values of all maps that is zero, padding left out; rising.
        scores: the metric there.
        ratios: dense int8 bytes to coded bytes there.
    """

    zeros: tuple[float, ...]
    scores: tuple[float, ...]
    ratios: tuple[float, ...]

    @classmethod
    def of(cls, name: str, program: Program, rows: Rows) -> Curve:
        """Of a quantized program on some rows; thresholds come from rows that it was trained on."""
        points: list[tuple[float, float, float]] = []
        for share in SHARES:
            sparse = sparsified(name, program, f"zeros={share}" if share else "threshold=0.0")
            total = maps_of(name, sparse, rows).total()
            points.append((1 - total.density, score(name, sparse, *rows), total.ratio))
        zeros, scores, ratios = zip(*points, strict=True)
        return cls(zeros, scores, ratios)

    def score_at(self, zeros: float) -> float:
        """The metric at a share of zeros, between the points; where a program has more zeros by itself, its own."""
        return float(np.interp(zeros, self.zeros, self.scores))

    def ratio_at(self, zeros: float) -> float:
        """How many times fewer bytes at a share of zeros."""
        return float(np.interp(zeros, self.zeros, self.ratios))

    def __str__(self) -> str:
        points = zip(self.zeros, self.scores, self.ratios, strict=True)
        return "  ".join(f"{zeros:.3f}: {metric:.4f} ({ratio:.2f}x)" for zeros, metric, ratio in points)


def sparsified(name: str, program: Program, how: str, metric: MetricFunction | None = None) -> Program:
    """The program with its maps as int8 behind thresholds."""
    rows = fitting(name)
    calibration = {model_of(name).way.input: rows.inputs[np.random.default_rng(0).permutation(len(rows.inputs))[:64]]}
    result = nw.compile(
        program, f"sparsify_activations({how}, bits=8)", calibration=calibration, metric=metric, check=False, latency=False, threads=1
    )
    notes = [row.note for row in result.report.passes if row.note]
    if notes:
        print("; ".join(notes), flush=True)
    return result.program


def maps_of(name: str, program: Program, rows: Rows) -> MapReport:
    """What the maps of some rows take."""
    inputs = rows.inputs[:MEASURED]
    batches = [{model_of(name).way.input: inputs[at : at + 50]} for at in range(0, len(inputs), 50)]
    return measure_maps(program, batches, OrtExecutor())
