"""How long it takes to compile a ResNet-50 for a chip, and how much memory.

    python -m benchmarks.cim_compile_time [--target generic-28nm] [--arrays-fit]

The network is transformers' ResNet-50 with random weights, in static integers by netwright (not part of the time), then lowered, mapped
and scheduled: thread CPU time, and the peak of the process above what it held before. The default chip holds two thirds of the weights,
so that arrays are written anew; `--arrays-fit` gives it a mesh four times as large, where copies are made besides.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path

import netwright as nw
from benchmarks.exports.export import CACHE, architecture, export_path
from netwright.backends.cim.arch import resolve
from netwright.backends.cim.lowering import lower_graph
from netwright.backends.cim.mapping import build
from netwright.backends.cim.program.verify import verify
from netwright.backends.cim.schedule import schedule
from netwright.passes.context import Context

SECONDS = 20.0
BYTES = 2_000_000_000
NAME = "resnet50"


def integers() -> Path:
    """The network in static integers: made once and kept."""
    path = CACHE / f"{NAME}.static.onnx"
    if not path.exists():
        feeds = architecture(NAME).example_feeds(2)
        pipeline = "simplify(opset=20), quantize(scheme='static'), fold"
        nw.compile(nw.load(export_path(NAME)), pipeline, calibration=[feeds], latency=False, threads=1).save(path)
    return path


def peak() -> int:
    """Most memory that the process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Print the times and the memory; exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="generic-28nm", help="a preset, or a chip's YAML file")
    parser.add_argument("--arrays-fit", action="store_true", help="with a mesh four times as large")
    given = parser.parse_args()
    arch = resolve(given.target)
    if given.arrays_fit:
        arch = replace(arch, network=replace(arch.network, columns=2 * arch.network.columns, rows=2 * arch.network.rows))
    program = nw.load(integers())
    before = peak()
    start = time.thread_time()
    lowered = lower_graph(program, Context(), arch=arch).program
    middle = time.thread_time()
    chip = build(lowered, arch, name=NAME)
    mapped = time.thread_time()
    timeline = schedule(chip)
    end = time.thread_time()
    held = peak() - before
    verify(chip)
    phases = 1 + max((unit.phase for unit in chip.units), default=0)
    instructions = sum(len(own) for own in chip.tiles.values())
    print(f"{NAME} on {arch.name}, {arch.network.tiles} tiles, {arch.arrays:,} arrays")
    print(f"  lowering {middle - start:6.2f} s")
    print(f"  mapping  {mapped - middle:6.2f} s")
    print(f"  schedule {end - mapped:6.2f} s  ({timeline.rows:,} rows)")
    print(f"  together {end - start:6.2f} s  (target < {SECONDS:.0f} s)")
    print(f"  memory   {held / 1e9:6.2f} GB (target < {BYTES / 1e9:.0f} GB)")
    print(f"  {len(chip.units)} units, {sum(unit.arrays for unit in chip.units):,} arrays, {phases} phases, {instructions:,} instructions")
    print(
        f"  a sample takes {timeline.latency_ns / 1e6:.2f} ms, one every {timeline.interval_ns / 1e6:.2f} ms; busiest: {timeline.busiest}"
    )
    for note in chip.notes:
        print(f"  {note}")
    if end - start > SECONDS or held > BYTES:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
