"""How `simplify` grows with the graph: microseconds a node from 1,000 to 100,000 nodes, and on a 96-layer transformer.

    python -m benchmarks.growth [--check]

Two chains are measured: one in which every node is looked at and nothing is found, and one in which a rule fires on every
third node. With `--check`, exits with 1 where 10k to 100k grows by more than 1.5 a node, or 1k to 100k by more than 2.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import onnx_ir

from benchmarks.exports.scale import chain_model, deep_transformer
from benchmarks.table import Row, report
from netwright.ir import Program, shapes
from netwright.passes.context import Context
from netwright.passes.manager import run
from netwright.passes.simplify import Simplify

SIZES = (1_000, 10_000, 100_000)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    options = parser.parse_args()
    _one(_busy(200))
    rows: list[Row] = []
    missed = False
    for title, make in (("nothing to do", _idle), ("work at every third node", _busy), ("chain_model", chain_model)):
        micros = [min(_one(make(size)) for _ in range(3 if size < SIZES[-1] else 1)) for size in SIZES]
        near, far = micros[2] / micros[1], micros[2] / micros[0]
        missed |= near > 1.5 or far > 2.0
        row = {f"{size:,} nodes": round(value, 1) for size, value in zip(SIZES, micros, strict=True)}
        rows.append({"graph": title, **row, "10k → 100k": round(near, 2), "1k → 100k": round(far, 2)})
    for layers in (12, 96):
        model = deep_transformer(layers)
        nodes = len(model.graph)
        rows.append({"graph": f"transformer, {layers} layers, {nodes} nodes", f"{SIZES[0]:,} nodes": round(_one(model), 1)})
    report("Simplify: µs a node", rows)
    if options.check and missed:
        raise SystemExit(1)


def _one(model: onnx_ir.Model) -> float:
    """Microseconds a node of the pass alone, shapes known."""
    program = Program(model)
    nodes = len(model.graph)
    shapes.infer(program)
    started = time.perf_counter()
    run(program, (Simplify(),), Context(), copy=False)
    return (time.perf_counter() - started) / nodes * 1e6


def _idle(nodes: int) -> onnx_ir.Model:
    operators = ("Relu", "Sin", "Exp", "Tanh")
    return _chain(nodes, lambda index, value: onnx_ir.node(operators[index % 4], [value]))


def _busy(nodes: int) -> onnx_ir.Model:
    operators = ("Sin", "Tanh", "Identity")
    return _chain(nodes, lambda index, value: onnx_ir.node(operators[index % 3], [value]))


def _chain(nodes: int, make: Callable[[int, onnx_ir.Value], onnx_ir.Node]) -> onnx_ir.Model:
    """A chain of unary nodes on a dynamic input."""
    value = onnx_ir.Value(name="x", shape=onnx_ir.Shape(["N", 4]), type=onnx_ir.TensorType(onnx_ir.DataType.FLOAT))
    first, made = value, list[onnx_ir.Node]()
    for index in range(nodes):
        node = make(index, value)
        node.name = f"n{index}"
        value = node.outputs[0]
        value.name = f"v{index}"
        made.append(node)
    last = onnx_ir.node("Neg", [value])
    last.name, last.outputs[0].name = "last", "y"
    last.outputs[0].type = onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
    last.outputs[0].shape = onnx_ir.Shape(["N", 4])
    graph = onnx_ir.Graph([first], [last.outputs[0]], nodes=[*made, last], opset_imports={"": 20}, name="chain")
    return onnx_ir.Model(graph, ir_version=10)


if __name__ == "__main__":
    main()
