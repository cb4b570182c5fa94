"""Runs one simplifier on one file in a fresh process, and says what came out, how long it took and what memory it took.

    python -m benchmarks._simplifiers netwright model.onnx out.onnx

prints one line of JSON. Imports are over before the clock starts and before the idle memory is read, for all alike.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

TOOLS = ("netwright", "onnxsim", "onnxslim")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a simplifier made of a file.

    Attributes:
        nodes: of the main graph, after.
        seconds: from the file to the saved file.
        peak_mb: most memory (ru_maxrss) over that of the idle interpreter with everything imported.
        error: why there is no result; empty where there is.
    """

    nodes: int = 0
    seconds: float = 0.0
    peak_mb: float = 0.0
    error: str = ""


def measure(tool: str, path: Path, *, timeout: float = 600.0) -> Measured:
    """Run a simplifier on a file in a process of its own."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [sys.executable, "-m", "benchmarks._simplifiers", tool, str(path), str(Path(folder) / "out.onnx")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return Measured(error=f"longer than {timeout:.0f} s")
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        return Measured(error=(done.stderr.strip().splitlines() or ["no output"])[-1])
    return Measured(**json.loads(lines[-1]))


def best_of(tool: str, path: Path, runs: int) -> Measured:
    """The fastest of some runs, with the least of their memory."""
    found = [measure(tool, path) for _ in range(runs)]
    sound = [one for one in found if not one.error] or found[:1]
    return Measured(sound[0].nodes, min(one.seconds for one in sound), min(one.peak_mb for one in sound), sound[0].error)


def _netwright() -> Callable[[str, str], None]:
    from onnx_shape_inference import registry

    from netwright.frontends.onnx import load_onnx
    from netwright.ir import verify
    from netwright.ir.storage import write_model
    from netwright.passes.context import Context
    from netwright.passes.manager import run
    from netwright.passes.simplify import Simplify

    assert verify
    registry.collect()  # its rules are modules that are imported on first use

    def simplify(source: str, target: str) -> None:
        program = run(load_onnx(source), (Simplify(),), Context(), copy=False).program
        write_model(program.model, target)

    return simplify


def _onnxsim() -> Callable[[str, str], None]:
    import onnx
    import onnxsim

    def simplify(source: str, target: str) -> None:
        model, _ = onnxsim.simplify(onnx.load(source))
        onnx.save(model, target)

    return simplify


def _onnxslim() -> Callable[[str, str], None]:
    import onnxslim

    def simplify(source: str, target: str) -> None:
        onnxslim.slim(source, target)

    return simplify


_MAKERS = {"netwright": _netwright, "onnxsim": _onnxsim, "onnxslim": _onnxslim}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run the tool and print the figures as JSON."""
    tool, source, target = sys.argv[1:]
    simplify = _MAKERS[tool]()
    import onnx

    idle = _peak_mb()
    started = time.perf_counter()
    simplify(source, target)
    seconds = time.perf_counter() - started
    peak = _peak_mb() - idle
    nodes = len(onnx.load(target, load_external_data=False).graph.node)
    print(json.dumps(asdict(Measured(nodes, seconds, peak))))


if __name__ == "__main__":
    main()
