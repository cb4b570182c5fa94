"""Nodes left after `simplify`, beside onnxsim and onnxslim, on all exports.

    python -m benchmarks.node_counts [NAME …] [--opset 20] [--trace] [--check]

Files are torch.onnx.export's, optimised by it. `--trace` adds what `nw.trace` gives at opset 23, saved as it is, for all tools alike.

With `--check`, exits with 1 where netwright leaves more nodes than the smaller of the two, or more than a target.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import netwright as nw
from benchmarks._simplifiers import TOOLS, Measured, measure
from benchmarks.exports import ARCHITECTURES, CACHE, export_path, traced
from benchmarks.exports.__main__ import node_count
from benchmarks.table import Cell, Row, report

TARGETS = {("bert", "20"): 380, ("vit", "20"): 350, ("bert", "23"): 245, ("vit", "23"): 235}
"""The most nodes that these may have left, by opset."""


def main() -> None:
    """Parse the command line, run the tools, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.node_counts", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(ARCHITECTURES)}; default all")
    parser.add_argument("--opset", type=int, action="append", choices=(20, 23), help="default: both")
    parser.add_argument("--trace", action="store_true", help="traces at opset 23 too")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    options = parser.parse_args()
    rows: list[Row] = []
    missed: list[str] = []
    for name in options.names or ARCHITECTURES:
        files = {f"file, {opset}": export_path(name, opset) for opset in options.opset or (20, 23)}
        if options.trace:
            files["trace, 23"] = _trace(name)
        for label, path in files.items():
            found = {tool: measure(tool, path) for tool in TOOLS}
            rows.append({"model": name, "from": label, "before": node_count(path), **{tool: _shown(one) for tool, one in found.items()}})
            limit = min(
                [one.nodes for tool, one in found.items() if tool != "netwright" and not one.error]
                + [TARGETS.get((name, label[-2:]), 1 << 30)]
            )
            if found["netwright"].error or found["netwright"].nodes > limit:
                missed.append(f"{name} {label}: {_shown(found['netwright'])} nodes, limit {limit}")
    report("Nodes after simplification", rows)
    for line in missed:
        print(f"missed: {line}")
    if options.check and missed:
        raise SystemExit(1)


def _trace(name: str) -> Path:
    path = CACHE / f"{name}.trace23.onnx"
    nw.save(traced(name), path)
    return path


def _shown(found: Measured) -> Cell:
    return found.error or found.nodes


if __name__ == "__main__":
    main()
