"""Time and memory from file to saved file, beside onnxsim and onnxslim: a fresh process each, imports left out for all.

    python -m benchmarks.simplify_speed [NAME …] [--opset 20] [--runs 3] [--all] [--big]

By default on the exports of 100 MB and more; `--big` adds a model of 4 GB with external data, for netwright only.
"""

from __future__ import annotations

import argparse

from benchmarks._simplifiers import TOOLS, Measured, best_of, measure
from benchmarks.exports import ARCHITECTURES, CACHE, export_path
from benchmarks.exports.scale import big_external
from benchmarks.table import Row, report

MEGABYTE = 1 << 20
LARGE_MB = 100
"""Smaller files are left out unless asked for."""


def main() -> None:
    """Parse the command line, measure, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simplify_speed", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(ARCHITECTURES)}; default all")
    parser.add_argument("--opset", type=int, default=20, choices=(20, 23))
    parser.add_argument("--runs", type=int, default=3, help="take the best of so many (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="small files too")
    parser.add_argument("--big", action="store_true", help="a 4 GB model with external data too")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.names or ARCHITECTURES:
        path = export_path(name, options.opset)
        size = path.stat().st_size / MEGABYTE
        if size < LARGE_MB and not options.all and not options.names:
            continue
        found = {tool: best_of(tool, path, options.runs if tool == "netwright" else 1) for tool in TOOLS}
        rows.append({"model": name, "MB": round(size), **_figures(found), **_ratios(found, size)})
    if options.big:
        path = CACHE / "big" / "model.onnx"
        big_external(path)
        size = sum(file.stat().st_size for file in path.parent.iterdir()) / MEGABYTE
        found = {"netwright": measure("netwright", path)}
        rows.append({"model": "big_external", "MB": round(size), **_figures(found), **_ratios(found, size)})
    report("Simplification: seconds and peak MB over the idle interpreter", rows)


def _figures(found: dict[str, Measured]) -> Row:
    row: Row = {}
    for tool, one in found.items():
        row[f"{tool} s"] = one.error or round(one.seconds, 2)
        row[f"{tool} MB"] = "" if one.error else round(one.peak_mb)
    return row


def _ratios(found: dict[str, Measured], size: float) -> Row:
    ours = found["netwright"]
    peers = [one.seconds for tool, one in found.items() if tool != "netwright" and not one.error]
    faster = round(min(peers) / ours.seconds, 1) if peers and not ours.error else ""
    return {"times faster": faster, "peak / file": "" if ours.error else round(ours.peak_mb / size, 2)}


if __name__ == "__main__":
    main()
