"""How fast products on crossbars are simulated: 1152 × 256, 8 × 8 bits, 1,024 vectors, a conversion for each partial sum.

    python -m benchmarks.cim_speed [--vectors N] [--threads N] [--check] [--json FILE]

Every row is one configuration, best of several runs in CPU time of the thread, counts on; results are compared with a plain product in
64-bit integers (lossless) or with the engine `numpy` (lossy) on some of the vectors. Beside them stands what CrossSim 3.2.0
needed for the same shape on two cores with AVX-512, one thread (measured elsewhere, not run here). With `--check`, exits with 1
where the targets of 45 ms (a lossy conversion of each sum of 128 rows) or 10 ms (lossless) are missed on a machine that counts bits in
AVX-512 lanes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.table import Row, report
from netwright.backends.cim.coding.model import Coding, Converter, Disturbance, Masking
from netwright.backends.cim.engines import Prepared, describe, prepare

ROWS, COLUMNS = 1152, 256
RUNS = 7
PATIENCE = 2.0
"""Seconds after which no more runs are made."""

COMPARED = 16
"""Vectors on which values are compared."""

STEP = Coding(rows=128, converter=Converter(mode="step", bits=6, step=4))
CHARGE = Coding(rows=1152, converter=Converter(mode="charge", bits=8))
PLANE = Masking(granularity="plane", threshold=0.0)

CODINGS: tuple[tuple[str, Coding, float | None, str], ...] = (
    ("8 b, step 1 (lossless)", replace(STEP, converter=Converter(mode="step", bits=8)), 10.0, "CrossSim 890–1,000"),
    ("8 b, step 1, plane masks", replace(STEP, converter=Converter(mode="step", bits=8), masking=PLANE), 10.0, ""),
    ("6 b, step 4", STEP, 45.0, "CrossSim 1,300"),
    ("5 b, step 8", replace(STEP, converter=Converter(mode="step", bits=5, step=8)), 45.0, "CrossSim 1,300"),
    ("6 b, clipped", replace(STEP, converter=Converter(mode="clip", bits=6)), None, ""),
    ("6 b, step 3", replace(STEP, converter=Converter(mode="step", bits=6, step=3)), None, ""),
    ("6 b, range 16 … 96", replace(STEP, converter=Converter(mode="range", bits=6, low=16, high=96)), None, ""),
    ("6 b, step 4, two's complement", replace(STEP, encoding="twos_complement"), None, ""),
    ("6 b, step 4, differential, after", replace(STEP, encoding="differential"), None, ""),
    ("6 b, step 4, differential, before", replace(STEP, encoding="differential", subtract="before"), None, ""),
    ("6 b, step 8, cells of 2 b", replace(STEP, cell_bits=2, converter=Converter(mode="step", bits=6, step=8)), None, "CrossSim 765"),
    ("6 b, charge", replace(STEP, converter=Converter(mode="charge", bits=6)), None, ""),
    ("6 b, charge, plane masks", replace(STEP, converter=Converter(mode="charge", bits=6), masking=PLANE), None, ""),
    ("8 b, charge, 1152 rows", CHARGE, None, ""),
    ("8 b, charge, 1152 rows, row masks", replace(CHARGE, masking=replace(PLANE, granularity="row")), None, ""),
    ("8 b, charge, 1152 rows, plane masks", replace(CHARGE, masking=PLANE), None, ""),
    ("6 b, step 4, noise of 0.5 counts", replace(STEP, noise=Disturbance(conversion=0.5)), None, ""),
    ("6 b, step 4, cells that differ by 5 %", replace(STEP, noise=Disturbance(cell=0.05)), None, ""),
    (
        "6 b, charge, noise of 0.5 counts",
        replace(STEP, converter=Converter(mode="charge", bits=6), noise=Disturbance(conversion=0.5)),
        None,
        "",
    ),
)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cim_speed", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--vectors", type=int, default=1024, help="input vectors")
    parser.add_argument("--threads", type=int, default=1, help="threads of a product; more than one is timed by the wall")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--json", type=Path, default=None, help="write the table here too")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (options.vectors, ROWS)).astype(np.uint8)
    x[rng.random(x.shape) < 0.5] = 0
    w = rng.integers(-127, 128, (ROWS, COLUMNS)).astype(np.int8)
    machine = describe()
    rows: list[Row] = []
    missed = False
    for name, coding, target, others in CODINGS:
        prepared = prepare(w, coding, threads=options.threads)
        outcome = prepared.multiply(x)
        same = _same(prepared, outcome.values[:COMPARED], x[:COMPARED], w)
        milliseconds = _best(prepared, x, options.threads)
        missed |= not same or (target is not None and milliseconds > target)
        row: Row = {"conversion": name, "engine": outcome.engine, "ms": round(milliseconds, 1), "target": target, "exact": same}
        rows.append({**row, "ns a conversion": round(milliseconds * 1e6 / max(outcome.counts.conversions, 1), 3), "others, ms": others})
    report(
        f"Products {ROWS} × {COLUMNS}, 8 × 8 b, {options.vectors} vectors, half zeros; {machine.engine}, {machine.lanes}",
        rows,
        path=options.json,
    )
    if machine.note:
        print(machine.note)
    if options.check and missed and not machine.note:
        raise SystemExit(1)


def _same(prepared: Prepared, values: np.ndarray, x: np.ndarray, w: np.ndarray) -> bool:
    """Whether the first values are those of another way of computing them."""
    if prepared.multiply(x).engine == "collapsed":
        return bool(np.array_equal(values, x.astype(np.int64) @ w.astype(np.int64)))
    return bool(np.array_equal(values, prepare(w, prepared.coding, engine="numpy").multiply(x).values))


def _best(prepared: Prepared, x: np.ndarray, threads: int) -> float:
    """Milliseconds of the quickest of several runs."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    times: list[float] = []
    while len(times) < RUNS and sum(times) < PATIENCE:
        started = clock()
        prepared.multiply(x)
        times.append(clock() - started)
    return min(times) * 1e3


if __name__ == "__main__":
    main()
