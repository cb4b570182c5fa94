"""Whole real models on a chip: accuracy against ONNX Runtime's integers, energy, latency, area, utilisation, all from one run.

    python -m benchmarks.cim_models [--chip NAME] [--full] [--json FILE] [NAME ...]

The chip's outputs are compared with ONNX Runtime's on the same integers, with the same sizes, one sample after the other: `equal` is the
share of outputs that are the same bit for bit, over the samples that energy is measured on. `plain` is the latency without copies of
weights and without overlapping layers; `samples/s` is of samples that follow each other as closely as the schedule finds. Products that
stay on the vector unit or the host are counted, and named below the table. Where there are products of two values of the input
(attention), a second table has them all on vector units, and all written to arrays.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks._attention import attention
from benchmarks._cim import Job, at_sizes, chosen, in_batches, integers, on_chip
from benchmarks.table import Row, report
from benchmarks.zoo import ZooModel


def main() -> None:
    """Measure the models named, all where none is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--chip", default="generic-28nm")
    parser.add_argument("--samples", type=int, default=8, help="samples that energy is measured on")
    parser.add_argument("--full", action="store_true", help="score on all evaluation data; part of it otherwise")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[Row] = []
    both: list[Row] = []
    notes: list[str] = []
    for model, job in chosen(options.names):
        row, left = _row(model, job, options.chip, options.samples, quick=not options.full)
        rows.append(row)
        notes += [f"{model.name}: {note}" for note in left]
        if any("products of two values" in note for note in left):
            both += attention(model, job, options.chip, options.samples, quick=not options.full)
        print(row, flush=True)
    report(f"whole models on cim:{options.chip}", rows, path=options.json)
    if both:
        report(f"attention on cim:{options.chip}, both ways", both)
    print("\n".join(notes))


def _row(model: ZooModel, job: Job, chip: str, samples: int, *, quick: bool) -> tuple[Row, list[str]]:
    result = integers(model, job)
    started = time.perf_counter()
    executable = on_chip(result, f"cim:{chip}", job)
    seconds = time.perf_counter() - started
    plain = on_chip(result, f"cim:{chip},duplicate=off,pipeline=off", job)

    feeds = model.feeds(samples, seed=1)
    ours = [executable.run(one) for one in feeds[1:]]
    reference = at_sizes(result, job)
    theirs = [reference.run(one) for one in feeds[1:]]
    same = [_same(a, b) for a, b in zip(ours, theirs, strict=True)]
    executable.run({name: np.concatenate([one[name] for one in feeds]) for name in feeds[0]})
    cost = executable.cost()

    original = model.original()
    scores = {
        name: model.evaluate(run, original=original, quick=quick)
        for name, run in (("float", original), ("ORT int8", result.run), ("chip", in_batches(executable, job.batch)))
    }
    measured = executable.chip
    row: Row = {
        "model": model.name,
        "kind": job.kind,
        "matrices": len(measured.matrices),
        "copies": max((unit.copy for unit in measured.units), default=0) + 1,
        "host regions": len(measured.host),
        "metric": model.primary,
        **{name: round(found.metrics[model.primary], 4) for name, found in scores.items()},
        "equal": sum(same) / len(same),
        "µJ": cost.energy_pj / 1e6,
        "latency µs": cost.latency_ns / 1e3,
        "plain µs": plain.timeline.latency_ns / 1e3,
        "plain / latency": plain.timeline.latency_ns / cost.latency_ns,
        "samples/s": 1e9 / cost.interval_ns,
        "plain samples/s": 1e9 / plain.timeline.interval_ns,
        "mm²": cost.total_mm2,
        "arrays used": cost.use.arrays,
        "cells used": cost.use.packing,
        "busy": cost.use.busy,
        "TOPS/W": cost.tops_per_watt,
        "compile s": seconds,
    }
    return row, list(measured.notes)


def _same(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> float:
    """The share of equal elements, output by output."""
    return sum(float(np.count_nonzero(ours[name] == theirs[name])) / ours[name].size for name in ours) / len(ours)


if __name__ == "__main__":
    main()
