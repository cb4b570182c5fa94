"""Lowered programs cut into steps."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.backends.cim.mapping import Piece, cut
from netwright.backends.cim.program.model import Work
from netwright.ir.program import Program
from tests.backends.cim.mapping.graphs import FLOAT, UINT8, Net, loader


def steps(program: Program) -> list[str]:
    """Own operators and regions in words."""
    return [
        f"{'+'.join(node.op_type for node in step.nodes)}({', '.join(step.inputs)})" if isinstance(step, Piece) else step.op_type
        for step in cut(program).steps
    ]


def test_own_operators_stand_alone_and_the_rest_hangs_together() -> None:
    net = Net(np.random.default_rng(0))
    y = net.product("x", 8, 8)
    z = net.product(net.add("x", y), 8, 4)
    program = net.program({"x": (UINT8, (1, 6, 8))}, {z: UINT8})
    assert steps(program) == [
        "CrossbarMatMul",
        "Requantize",
        f"DequantizeLinear+DequantizeLinear+Add+QuantizeLinear(x, {y})",
        "CrossbarMatMul",
        "Requantize",
    ]


def test_bytes_are_dequantized_where_they_are_read() -> None:
    net = Net(np.random.default_rng(1))
    first = net.add("x", "x")
    y = net.product(first, 8, 8)
    second = net.add(first, y)
    program = net.program({"x": (UINT8, (1, 8))}, {second: UINT8})
    pieces = cut(program).pieces
    assert [piece.inputs for piece in pieces] == [("x",), (first, y)]
    assert all(program.value(name).dtype == onnx_ir.DataType.UINT8 for piece in pieces for name in (*piece.inputs, *piece.outputs))


def test_regions_run_on_stacked_samples() -> None:
    net = Net(np.random.default_rng(2))
    shape = net.constant("shape", np.array([1, 4, 2, 3]))
    f = net.node("Cast", "x", to=FLOAT)
    y = net.node("Softmax", net.node("Transpose", net.node("Reshape", f, shape), perm=[0, 2, 1, 3]))
    program = net.program({"x": (UINT8, (1, 4, 6))}, {y: FLOAT})
    (piece,) = cut(program).pieces
    assert piece.batchable
    x = np.random.default_rng(3).integers(0, 9, (5, 4, 6)).astype(np.uint8)
    run = loader(piece.program)
    together = run({"x": x})[y]
    np.testing.assert_array_equal(together, np.concatenate([run({"x": x[n : n + 1]})[y] for n in range(5)]))


def test_what_mixes_samples_is_not_stacked() -> None:
    net = Net(np.random.default_rng(4))
    y = net.node("CumSum", net.node("Cast", "x", to=FLOAT), net.constant("zero", np.array(0)))
    (piece,) = cut(net.program({"x": (UINT8, (1, 6))}, {y: FLOAT})).pieces
    assert not piece.batchable


def test_what_a_chip_cannot_run_is_a_region_of_the_host() -> None:
    net = Net(np.random.default_rng(5))
    f = net.node("Cast", "x", to=FLOAT)
    u = net.node("RandomNormalLike", f)
    y = net.node("Add", f, u)
    pieces = cut(net.program({"x": (UINT8, (1, 6))}, {y: FLOAT})).pieces
    assert [bool(piece.why_host) for piece in pieces] == [False, True, False]
    assert pieces[1].work == Work()


def test_work_is_counted_and_transposes_at_the_edge_cost_nothing() -> None:
    net = Net(np.random.default_rng(6))
    w = net.constant("w", np.ones((4, 5), np.float32))
    t = net.node("Transpose", "x", perm=[0, 2, 1])
    y = net.node("Exp", net.node("MatMul", t, w))
    (piece,) = cut(net.program({"x": (FLOAT, (1, 4, 3))}, {y: FLOAT})).pieces
    assert piece.work == Work(macs=3 * 4 * 5, special=15)
