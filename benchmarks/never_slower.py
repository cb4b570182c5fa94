"""No model gets slower: every real model and every export as float, and after `quantize(tune='latency')`.

    python -m benchmarks.never_slower [--opset 20|23] [--rounds N] [--json FILE] [NAME ...]

Each model in a process of its own: the file as it is, and after `simplify, quantize(tune='latency')` on calibration data of its own
(for exports, made-up inputs of the right sizes). One thread, batch 1, in turns, CPU time of the thread, which other processes disturb
less than the clock. `ratio` is the tuned program's time over that of the file: the best runs, and the median over turns. `error` is
|tuned - float| / |float| over all float outputs, on inputs that were not calibrated on. `seconds` is all of `nw.compile`; timings of
earlier runs are used where there are any (~/.cache/netwright/timings).
Target: no ratio above 1.02, what two measurements of one program differ by; and seconds, not minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.table import Row, report
from benchmarks.zoo.sessions import Feeds, Run, open_session

PIPELINE = "simplify, quantize(tune='latency')"
LIMIT = 1.02
CALIBRATED, CHECKED = 16, 4
SECONDS = 20.0
"""Timing of one model ends after this long, however many rounds were asked for."""


def main() -> None:
    """Measure the models named, all where none is; with `--one`, a single one, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="real models or architectures; all where left out")
    parser.add_argument("--opset", type=int, default=20, choices=(20, 23))
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", type=Path, help="write the table there as well")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_row(options.names[0], options.opset, options.rounds)))
        return
    rows = [_apart(name, options.opset, options.rounds) for name in options.names or _all_names()]
    slower = [str(row["model"]) for row in rows if "failed" in row or float(row["ratio"] or 0) > LIMIT]
    report("float against tuned", rows, path=options.json)
    print(f"{len(rows)} models, slower than float: {', '.join(slower) or 'none'}")


def _all_names() -> list[str]:
    from benchmarks.exports import ARCHITECTURES
    from benchmarks.zoo import zoo

    return [*zoo, *ARCHITECTURES]


def _apart(name: str, opset: int, rounds: int) -> Row:
    command = [sys.executable, "-m", "benchmarks.never_slower", name, "--one", "--opset", str(opset), "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"model": name, "failed": done.stderr.strip().splitlines()[-1][:200]}
    sys.stderr.write(f"{done.stdout.splitlines()[-1]}\n")
    return json.loads(done.stdout.splitlines()[-1])


def _row(name: str, opset: int, rounds: int) -> Row:
    import netwright as nw

    source, calibration, checked = _model(name, opset)
    started = time.perf_counter()
    result = nw.compile(source, PIPELINE, calibration=calibration, latency=False, threads=1)
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "tuned.onnx"
        result.save(target)
        runs = {"float": open_session(source), "tuned": open_session(target)}
        best, ratio = _times(runs, checked[0], rounds)
        size = target.stat().st_size / source.stat().st_size
    note = next((plan.note for plan in result.plans.values() if plan.note), "")
    return {
        "model": name,
        "float ms": round(best["float"], 4),
        "tuned ms": round(best["tuned"], 4),
        "ratio": round(best["tuned"] / best["float"], 3),
        "median": round(ratio, 3),
        "error": float(f"{_error(runs['float'], runs['tuned'], checked):.3g}"),
        "size": round(size, 3),
        "seconds": round(seconds, 1),
        "misses": len(result.report.passes[-1].misses),
        "what": note.rpartition("tuned by measuring: ")[2].partition(";")[0],
    }


def _model(name: str, opset: int) -> tuple[Path, list[Feeds], list[Feeds]]:
    """The file, inputs to calibrate on, and others to compare and to time on."""
    from benchmarks.zoo import zoo

    if name in zoo:
        feeds = zoo[name].feeds(CALIBRATED + CHECKED)
        return zoo[name].onnx(), feeds[:CALIBRATED], feeds[CALIBRATED:]
    from benchmarks.exports import example_feeds, export_path

    made = [example_feeds(name, seed=seed) for seed in range(CALIBRATED + CHECKED)]
    return export_path(name, opset), made[:CALIBRATED], made[CALIBRATED:]


def _times(runs: dict[str, Run], feeds: Feeds, rounds: int) -> tuple[dict[str, float], float]:
    """Best milliseconds of each, and the median over turns of tuned over float."""
    taken: dict[str, list[float]] = {label: [] for label in runs}
    for run in runs.values():
        run(feeds)
    until = time.perf_counter() + SECONDS
    for _ in range(rounds):
        for label, run in runs.items():
            repeats: list[float] = []
            for _ in range(3):
                started = time.thread_time()
                run(feeds)
                repeats.append(1e3 * (time.thread_time() - started))
            taken[label].append(min(repeats))
        if time.perf_counter() > until:
            break
    ratio = median(mine / other for mine, other in zip(taken["tuned"], taken["float"], strict=True))
    return {label: min(times) for label, times in taken.items()}, ratio


def _error(reference: Run, run: Run, feeds: list[Feeds]) -> float:
    from netwright.passes.quantize.tuning.evidence import relative_error

    return relative_error([dict(reference(one)) for one in feeds], [dict(run(one)) for one in feeds])


if __name__ == "__main__":
    main()
