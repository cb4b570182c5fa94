"""One convolutional network on every chip that comes with netwright: accuracy, energy, latency, area.

    python -m benchmarks.cim_presets [--full] [--json FILE] [CHIP ...]

The chips differ in node, size and converters, and some are single macros: the table shows that each compiles and runs, and what its
converters do to the accuracy, not which is best. `lossy` is the share of conversions whose code is not the sum.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks._cim import JOBS, in_batches, integers, on_chip
from benchmarks.table import Row, report
from benchmarks.zoo import zoo
from netwright.backends.cim.arch import presets

MODEL = "train_small_cnn"


def main() -> None:
    """Measure the chips named, all where none is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chips", nargs="*")
    parser.add_argument("--full", action="store_true", help="score on all evaluation data; part of it otherwise")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, job = zoo[MODEL], JOBS[MODEL]
    result = integers(model, job)
    quick = not options.full
    reference = model.evaluate(result.run, quick=quick).metrics[model.primary]
    feeds = model.feeds(8, seed=1)
    batch = {name: np.concatenate([one[name] for one in feeds]) for name in feeds[0]}
    rows: list[Row] = []
    for name in options.chips or [arch.name for arch in presets()]:
        executable = on_chip(result, f"cim:{name}", job)
        executable.run(batch)
        cost = executable.cost()
        conversions = sum(counts.conversions for counts in cost.counts.values())
        inexact = sum(counts.inexact for counts in cost.counts.values())
        arch = executable.chip.arch
        rows.append(
            {
                "chip": name,
                "nm": arch.node_nm,
                "accuracy": model.evaluate(in_batches(executable, job.batch), quick=quick).metrics[model.primary],
                "ORT int8": reference,
                "lossy": inexact / conversions if conversions else 0.0,
                "phases": max(unit.phase for unit in executable.chip.units) + 1,
                "arrays used": cost.use.arrays,
                "µJ": cost.energy_pj / 1e6,
                "latency µs": cost.latency_ns / 1e3,
                "samples/s": 1e9 / cost.interval_ns,
                "mm²": cost.total_mm2,
                "TOPS/W": cost.tops_per_watt,
            }
        )
        print(rows[-1], flush=True)
    report(f"{MODEL} on every chip", rows, path=options.json)


if __name__ == "__main__":
    main()
