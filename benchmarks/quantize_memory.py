"""Memory and time of quantizing a model larger than protobuf's 2 GB: a stack of products, weights in external data.

    python -m benchmarks.quantize_memory [--gb 3] [--only dynamic,weights,static]

Each run in a process of its own, from load to the written file: `peak MB` is the process's largest resident size, the mapped pages of
the model's file among them. With calibration data throughout, so that dynamic quantization looks for outliers and static calibrates.
Target: within the file's size and 1,000 MB. The files lie in a temporary folder (`--folder` for another) and are removed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.table import Row, report

PIPELINES = {
    "dynamic": "quantize(scheme='dynamic')",
    "weights 8": "quantize(scheme='weights')",
    "weights 4": "quantize(scheme='weights', bits=4)",
    "static": "quantize(scheme='static')",
}


def main() -> None:
    """Measure every scheme; with `--one`, a single run, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=3.0, help="GiB of weights")
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--only", default=",".join(PIPELINES))
    parser.add_argument("--folder", type=Path, default=None, help="where the model and the results are written")
    parser.add_argument("--one", choices=tuple(PIPELINES), help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(json.dumps(_quantized(options.one, options.model, options.width)))
        return
    from benchmarks.exports.scale import big_external

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        model = big_external(Path(folder) / "model.onnx", options.gb, options.width)
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        rows = [_apart(name, model, options.width, size) for name in options.only.split(",")]
    report(f"quantizing {size:,.0f} MB of weights", rows)
    over = [str(row["scheme"]) for row in rows if not row.get("within")]
    if over:
        raise SystemExit(f"Over the file's size and 1,000 MB, or failed: {', '.join(over)}.")


def _apart(name: str, model: Path, width: int, size: float) -> Row:
    command = [sys.executable, "-m", "benchmarks.quantize_memory", "--one", name, "--model", str(model), "--width", str(width)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for left in model.parent.glob("out*"):
        left.unlink()
    first: Row = {"scheme": name, "file MB": round(size)}
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]
        return {**first, "failed": reason[-160:]}
    row = json.loads(done.stdout.splitlines()[-1])
    return {**first, **row, "within": row["peak MB"] <= size + 1000}


def _quantized(name: str, model: Path, width: int) -> Row:
    import netwright as nw

    rng = np.random.default_rng(0)
    data = [{"x": rng.standard_normal((4, width), dtype=np.float32)} for _ in range(8)]
    output, started = model.with_name("out.onnx"), time.perf_counter()
    result = nw.compile(model, PIPELINES[name], calibration=data, latency=False, threads=1)
    result.save(output)
    seconds = time.perf_counter() - started
    written = sum(file.stat().st_size for file in model.parent.glob("out*")) / 1e6
    sites = sum(
        one.op_type in ("MatMulInteger", "MatMulNBits", "DynamicQuantizeMatMul", "QuantizeLinear") for one in result.program.nodes()
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"peak MB": round(peak), "result MB": round(written), "integer nodes": sites, "seconds": round(seconds, 1)}


if __name__ == "__main__":
    main()
