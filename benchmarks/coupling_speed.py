"""Seconds that the coupling analysis takes, and that removing a quarter of all units takes: exports, and networks of growing depth.

    python -m benchmarks.coupling_speed [NAME …] [--depths 250 500 1000] [--runs 3]

The deep networks are convolutions with batch norms and shortcuts, 32 channels each: near-linear means that seconds per layer stay.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import onnx_ir

import netwright as nw
from benchmarks.exports import ARCHITECTURES, export_path
from benchmarks.table import Row, report
from netwright.ir import Program, shapes
from netwright.ir.coupling import coupling
from netwright.passes.context import Context
from netwright.passes.manager import run
from netwright.passes.prune import Prune

WIDTH = 32


def main() -> None:
    """Parse the command line, measure, print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coupling_speed", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(ARCHITECTURES)}; default all")
    parser.add_argument("--depths", type=int, nargs="*", default=[250, 500, 1000])
    parser.add_argument("--runs", type=int, default=3, help="take the best of so many (default: %(default)s)")
    options = parser.parse_args()
    exports = {name: nw.load(export_path(name, 20)) for name in options.names or ARCHITECTURES}
    report("Coupling on exports (opset 20)", [_row(name, program, options.runs) for name, program in exports.items()])
    deep = [_row(f"{depth} convolutions", deep_net(depth), options.runs) for depth in options.depths]
    report("Coupling on deep networks", deep)


def _row(name: str, program: Program, runs: int) -> Row:
    analysis = min(_analyse(program) for _ in range(runs))
    started = time.perf_counter()
    done = run(program, [Prune(ratio=0.25)], Context())
    removal = time.perf_counter() - started - analysis
    nodes = sum(1 for _ in program.nodes())
    return {
        "model": name,
        "nodes": nodes,
        "groups": len(program.fact(coupling).groups),
        "analysis s": round(analysis, 3),
        "µs a node": round(1e6 * analysis / nodes),
        "removals": done.rows[0].actions,
        "removal s": round(removal, 2),
    }


def _analyse(program: Program) -> float:
    program.touch()  # what is known is forgotten: the analysis runs again
    started = time.perf_counter()
    program.fact(coupling)
    return time.perf_counter() - started


def deep_net(depth: int) -> Program:
    """`depth` convolutions, each with a batch norm; every second one closes a shortcut."""
    rng = np.random.default_rng(0)
    graph_input = onnx_ir.Value(name="x", shape=onnx_ir.Shape(["N", WIDTH, 16, 16]), type=onnx_ir.TensorType(onnx_ir.DataType.FLOAT))
    nodes: list[onnx_ir.Node] = []
    weights: list[onnx_ir.Value] = []

    def weight(name: str, shape: tuple[int, ...]) -> onnx_ir.Value:
        tensor = onnx_ir.Tensor(np.abs(rng.normal(size=shape)).astype(np.float32), name=name)
        value = onnx_ir.Value(name=name, shape=onnx_ir.Shape(shape), type=onnx_ir.TensorType(onnx_ir.DataType.FLOAT), const_value=tensor)
        weights.append(value)
        return value

    def op(kind: str, inputs: list[onnx_ir.Value], name: str) -> onnx_ir.Value:
        nodes.append(onnx_ir.node(kind, inputs, outputs=[onnx_ir.Value(name=name)]))
        return nodes[-1].outputs[0]

    x, skip = graph_input, graph_input
    for layer in range(depth):
        x = op("Conv", [x, weight(f"w{layer}", (WIDTH, WIDTH, 1, 1))], f"c{layer}")
        norm = [weight(f"{part}{layer}", (WIDTH,)) for part in ("gamma", "beta", "mean", "var")]
        x = op("BatchNormalization", [x, *norm], f"n{layer}")
        if layer % 2:
            x = op("Add", [x, skip], f"s{layer}")
            skip = x
        x = op("Relu", [x], f"r{layer}")
        if layer == 0:
            skip = x
    y = op("Conv", [x, weight("head", (4, WIDTH, 1, 1))], "y")
    graph = onnx_ir.Graph([graph_input], [y], nodes=nodes, initializers=weights, opset_imports={"": 20}, name="deep")
    program = Program(onnx_ir.Model(graph, ir_version=10))
    shapes.infer(program)
    return program


if __name__ == "__main__":
    main()
