"""`python -m benchmarks.exports NAME… --opset 20|23 --out DIR`: write exports and print their node counts."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.exports.export import CACHE, export_path, traced
from benchmarks.exports.models import ARCHITECTURES


def main() -> None:
    """Parse the command line, export, print a row for each file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(ARCHITECTURES)}; default all")
    parser.add_argument("--opset", type=int, action="append", choices=(20, 23), help="default: both")
    parser.add_argument("--out", type=Path, default=CACHE, help="folder of the files (default: %(default)s)")
    parser.add_argument("--trace", action="store_true", help="write nothing: run nw.trace at opset 23 and print its node counts")
    options = parser.parse_args()
    if options.trace:
        print_traces(options.names or list(ARCHITECTURES))
        return
    for name in options.names or ARCHITECTURES:
        for opset in options.opset or (20, 23):
            started = time.perf_counter()
            path = export_path(name, opset, options.out)
            seconds = time.perf_counter() - started
            size = path.stat().st_size / 2**20
            print(f"{name:14}opset {opset}{node_count(path):7} nodes {size:8.1f} MiB {seconds:6.1f} s  {path}", flush=True)


def print_traces(names: list[str]) -> None:
    """Trace each architecture and print a row for it."""
    for name in names:
        started = time.perf_counter()
        program = traced(name)
        seconds = time.perf_counter() - started
        print(f"{name:14}trace {sum(1 for _ in program.nodes()):9} nodes {seconds:6.1f} s", flush=True)


def node_count(path: Path) -> int:
    """Nodes of the main graph of a file."""
    import onnx

    return len(onnx.load(str(path), load_external_data=False).graph.node)


if __name__ == "__main__":
    main()
