"""Attention on vector units, or in arrays written for every sample, by the length of the sequence: what it takes, and what is chosen.

    python -m benchmarks.cim_attention [--chip NAME] [--memory BYTES] [--json FILE] [LENGTH ...]

A block of four heads and 256 channels, random weights. Tiles have memories large enough that nothing goes to the host, whose energy is not
counted. Energy and latency are the simulator's and the schedule's, of the whole block; the choice of `auto` is made before, of prices.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

from benchmarks import _blocks
from benchmarks.table import Row, report
from netwright.backends.cim.arch.catalog import resolve
from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.executable import CimExecutable
from netwright.backends.cim.lowering import Bind, ChannelsLast, Crossbars
from netwright.backends.cim.lowering.emitting import Attend
from netwright.backends.cim.mapping import build
from netwright.backends.cim.target import CimTarget
from netwright.backends.onnxruntime import OrtExecutor, lower
from netwright.frontends.onnx.load import load_onnx
from netwright.ir.program import Program
from netwright.passes import Context, run
from netwright.passes.quantize import Quantize

CHANNELS, HEADS = 256, 4
BLOCK = f"""<ir_version: 10, opset_import: ["" : 20]>
block (float[1, LENGTH, 256] x) => (float[1, LENGTH, 256] y) {{
    q = MatMul(x, wq)
    k = MatMul(x, wk)
    v = MatMul(x, wv)
    {_blocks.HEADS}
}}"""


def main() -> None:
    """Measure the lengths named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lengths", nargs="*", type=int, default=[16, 32, 64, 128, 256, 512])
    parser.add_argument("--chip", default="generic-28nm")
    parser.add_argument("--memory", type=int, default=2**23)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    arch = resolve(options.chip)
    arch = replace(arch, tile=replace(arch.tile, memory=replace(arch.tile.memory, bytes=options.memory)))
    rows = [_row(arch, length) for length in options.lengths]
    report(f"attention of {HEADS} heads and {CHANNELS} channels on cim:{options.chip}", rows, path=options.json)


def _row(arch: Arch, length: int) -> Row:
    feeds = {"x": np.random.default_rng(1).standard_normal((1, length, CHANNELS)).astype(np.float32)}
    found: Row = {"length": length}
    took: dict[str, tuple[int, float]] = {}
    for way in ("vector", "arrays", "auto"):
        program = _lowered(arch, length, way, feeds)
        executable = CimExecutable(build(program, arch, name="block"), lambda region: lower(region, threads=1).run)
        executable.run(feeds)
        cost = executable.cost()
        written = sum(bool(matrix.source) for matrix in executable.chip.matrices)
        took[way] = written, cost.energy_pj * cost.latency_ns
        if way != "auto":
            found |= {f"{way} µJ": cost.energy_pj / 1e6, f"{way} µs": cost.latency_ns / 1e3, f"{way} host": len(executable.chip.host)}
    found["arrays / vector, µJ·µs"] = took["arrays"][1] / took["vector"][1]
    found["auto writes"] = took["auto"][0]
    found["auto / better"] = took["auto"][1] / min(took["vector"][1], took["arrays"][1])
    return found


def _lowered(arch: Arch, length: int, way: Attend, feeds: dict[str, np.ndarray]) -> Program:
    context = Context(calibration=[feeds], executor=OrtExecutor(), target=CimTarget(arch))
    passes = (Quantize(scheme="static", attention=way), Bind(), Crossbars(attention=way), ChannelsLast())
    return run(_model(length), passes, context).program


def _model(length: int) -> Program:
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(BLOCK.replace("LENGTH", str(length)))
    held: dict[str, np.ndarray] = {
        name: (rng.standard_normal((CHANNELS, CHANNELS)) / CHANNELS**0.5).astype(np.float32) for name in ("wq", "wk", "wv", "wo")
    }
    held["factor"] = np.array((CHANNELS // HEADS) ** -0.5, np.float32)
    held |= {"heads": np.array([0, length, HEADS, CHANNELS // HEADS]), "back": np.array([0, length, CHANNELS])}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(data, name) for name, data in held.items())
    return load_onnx(model)


if __name__ == "__main__":
    main()
