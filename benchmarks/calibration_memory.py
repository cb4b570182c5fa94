"""Memory and time of calibration: a 12-layer BERT, all activations with histograms, beside ONNX Runtime's histogram calibrator.

    python -m benchmarks.calibration_memory [--samples 1000] [--length 128] [--batch 8] [--peer 8,16,32]

Each run in a process of its own, one thread; `peak MB` is the process's largest resident size, the interpreter and the model's 438 MB of
weights included. netwright goes through all samples; ONNX Runtime's calibrator (percentile, from histograms) keeps every activation of
every sample, so that it is given few, and `MB a sample` says where it would end. Target: 1,000 samples within 1,500 MB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np

from benchmarks.table import Row, report

MODEL = "bert"


def main() -> None:
    """Measure both; with `--one`, a single run, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--length", type=int, default=128, help="tokens in a sample")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--peer", default="8,16,32", help="samples given to ONNX Runtime's calibrator, several runs")
    parser.add_argument("--one", choices=("netwright", "onnxruntime"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run = _netwright if options.one == "netwright" else _onnxruntime
        sys.stdout.write(json.dumps(run(options.samples, options.length, options.batch)))
        return
    rows = [_apart("netwright", options.samples, options.length, options.batch)]
    rows += [_apart("onnxruntime", int(count), options.length, options.batch) for count in options.peer.split(",") if count]
    report(f"calibration of {MODEL}, {options.length} tokens, batches of {options.batch}", rows)
    if isinstance(peak := rows[0].get("peak MB"), float) and peak > 1500:
        raise SystemExit(f"netwright's peak is {peak:.0f} MB, over 1,500.")


def _apart(who: str, samples: int, length: int, batch: int) -> Row:
    command = [sys.executable, "-m", "benchmarks.calibration_memory", "--one", who, "--samples", str(samples)]
    done = subprocess.run([*command, "--length", str(length), "--batch", str(batch)], capture_output=True, text=True, check=False)
    first: Row = {"calibrator": who, "samples": samples}
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]
        return {**first, "failed": reason[-120:]}
    return {**first, **json.loads(done.stdout.splitlines()[-1])}


def _feeds(samples: int, length: int, batch: int) -> Iterator[dict[str, np.ndarray]]:
    from benchmarks.exports.export import architecture

    made = architecture(MODEL)
    for index in range(-(-samples // batch)):
        yield made.example_feeds(min(batch, samples - index * batch), length, seed=index)


def _netwright(samples: int, length: int, batch: int) -> Row:
    import netwright as nw
    from benchmarks.exports import export_path
    from netwright.backends.onnxruntime.executor import OrtExecutor
    from netwright.passes.context import Context
    from netwright.passes.quantize.calibration import activations, calibrate

    program = nw.load(export_path(MODEL))
    names = activations(program)
    before, started = _peak(), time.perf_counter()
    found = calibrate(program, names, Context(executor=OrtExecutor()), batches=_feeds(samples, length, batch))
    seconds = time.perf_counter() - started
    grids = [found.grid(name, method="percentile") for name in names if found.obstacle(name) is None]
    return _row(len(grids), before, seconds, samples)


def _onnxruntime(samples: int, length: int, batch: int) -> Row:
    from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator  # pyright: ignore[reportUnknownVariableType]

    from benchmarks.exports import export_path

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = _feeds(samples, length, batch)

        def get_next(self) -> dict[str, np.ndarray]:
            return next(self._left, None)  # type: ignore[return-value]

    with tempfile.TemporaryDirectory() as folder:
        before, started = _peak(), time.perf_counter()
        made = create_calibrator(  # pyright: ignore[reportUnknownVariableType]
            str(export_path(MODEL)), None, str(Path(folder) / "augmented.onnx"), calibrate_method=CalibrationMethod.Percentile
        )
        made.set_execution_providers(["CPUExecutionProvider"])
        made.collect_data(Reader())
        ranges = made.compute_data()
        seconds = time.perf_counter() - started
    return _row(len(cast("dict[str, object]", ranges.data)), before, seconds, samples)


def _row(values: int, before: float, seconds: float, samples: int) -> Row:
    peak = _peak()
    return {
        "activations": values,
        "peak MB": round(peak, 1),
        "loaded MB": round(before, 1),
        "MB a sample": round((peak - before) / samples, 2),
        "seconds": round(seconds, 1),
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
