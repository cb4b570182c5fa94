"""Start-up: `netwright --help` and `inspect` of a small file as whole processes, and that neither loads torch or ONNX Runtime.

    python -m benchmarks.startup [--rounds N]

Targets: help under 0.5 s, inspect under 1.5 s.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.table import Row, report

HEAVY = ("torch", "onnxruntime", "sympy", "onnx_ir", "networkx", "scipy")


def main() -> None:
    """Time both commands in turns and list what they load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "small.onnx"
        onnx.save(_small(), model)
        commands = {"--help": ["--help"], "inspect small.onnx": ["inspect", str(model), "--json"]}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, arguments in commands.items():
                started = time.perf_counter()
                subprocess.run([sys.executable, "-m", "netwright", *arguments], check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - started)
        rows: list[Row] = [
            {
                "command": name,
                "best s": round(min(took), 3),
                "median s": round(float(np.median(took)), 3),
                "target s": 0.5 if name == "--help" else 1.5,
                "loads": ", ".join(_loaded(commands[name])) or "none of the heavy ones",
            }
            for name, took in seconds.items()
        ]
    report("start-up", rows)


def _loaded(arguments: list[str]) -> list[str]:
    code = (
        "import sys, contextlib, io\nfrom netwright.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    main({arguments!r})\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def _small() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.ones((64, 10), np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size]) for name, size in (("x", 64), ("y", 10)))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "small", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


if __name__ == "__main__":
    main()
