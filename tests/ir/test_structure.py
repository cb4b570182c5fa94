"""Ties, the networkx view, and topological order."""

from __future__ import annotations

import networkx
import numpy as np
import onnx_ir
import pytest

from netwright.ir.errors import VerifyError
from netwright.ir.order import is_sorted, stable_order
from netwright.ir.origin import MODULE
from netwright.ir.program import Program
from netwright.ir.shapes import infer
from netwright.ir.ties import ties
from netwright.ir.verify import verify
from netwright.ir.view import to_networkx

TEXT = """<ir_version: 10, opset_import: ["" : 20]>
g (float[n, 40] x, bool c) => (y) {
    a = MatMul(x, w)
    b = Add(a, bias)
    d = If(c) <then_branch = t () => (p) { p = Add(b, bias) }, else_branch = e () => (q) { q = Neg(a) }>
    y = MatMul(d, v)
}"""


def program() -> Program:
    rng = np.random.default_rng(0)
    square = rng.normal(size=(40, 40)).astype(np.float32)
    arrays = {"w": square, "v": np.ascontiguousarray(square.T), "bias": rng.normal(size=40).astype(np.float32), "u": square.copy()}
    inputs = ", ".join(f"float {name}" for name in ("w", "v", "bias"))
    model = onnx_ir.from_onnx_text(TEXT.replace("bool c)", f"bool c, {inputs})"))
    for value in [value for value in model.graph.inputs if value.name in arrays]:
        model.graph.inputs.remove(value)
        value.const_value = onnx_ir.tensor(arrays[value.name or ""], name=value.name)
        model.graph.register_initializer(value)
    spare = onnx_ir.Value(name="u", const_value=onnx_ir.tensor(arrays["u"], name="u"))
    model.graph.register_initializer(spare)
    found = Program(model)
    infer(found)
    return found


def test_ties_accidental_sharing_and_lost_ties_are_told_apart() -> None:
    found = program()
    node = found.value("y").producer()
    assert node is not None
    extra = onnx_ir.node("MatMul", [found.value("y"), found.value("w")], outputs=[onnx_ir.Value(name="z")])
    found.graph.append(extra)
    shared = ties(found)
    assert [(tie.name, tie.readers) for tie in shared.ties] == [("w", ("a", "z"))]
    assert [(item.name, item.readers) for item in shared.accidental] == [("bias", ("b", "p"))]
    (twins,) = shared.twins
    assert set(twins.names) == {"w", "u", "v"}
    assert twins.transposed == ("v",) or set(twins.transposed) == {"w", "u"}
    assert shared.to_dict()["ties"] == [{"name": "w", "readers": ["a", "z"]}]


def test_the_view_has_a_vertex_a_node_and_edges_with_types() -> None:
    graph = to_networkx(program())
    assert set(graph) == {"in:x", "in:c", "a", "b", "d", "y", "out:y"}
    assert graph.nodes["a"]["op"] == "MatMul"
    assert graph.edges["in:x", "a", 0] == {"value": "x", "type": "f32[n, 40]"}
    assert graph.has_edge("b", "d")
    assert graph.has_edge("a", "d"), "what a branch reads, the If reads"
    assert list(networkx.topological_sort(graph))[-1] == "out:y"


def test_the_view_by_module_counts_operators() -> None:
    found = program()
    for node, module in zip(found.graph, ("enc.0.fc", "enc.0.fc", "enc.1", "head"), strict=True):
        node.metadata_props[MODULE] = module
    graph = to_networkx(found, "module", depth=1)
    assert set(graph) == {"in:x", "in:c", "enc", "head", "out:y"}
    assert graph.nodes["enc"]["nodes"] == 3
    assert graph.nodes["enc"]["ops"] == {"MatMul": 1, "Add": 1, "If": 1}
    assert sorted((start, end) for start, end, _ in graph.edges) == [("enc", "head"), ("head", "out:y"), ("in:c", "enc"), ("in:x", "enc")]


def test_order_is_checked_and_restored_with_few_moves() -> None:
    found = program()
    first, second, third, last = found.graph
    assert is_sorted(found.graph)
    found.graph.remove(second)
    found.graph.insert_after(third, second)
    assert not is_sorted(found.graph), "a branch of the If reads b"
    order = stable_order(found.graph)
    assert order == [first, second, third, last]
    for node in order:
        found.graph.remove(node)
    found.graph.extend(order)
    verify(found)


def test_a_cycle_is_named() -> None:
    found = program()
    node = found.value("b").producer()
    assert node is not None
    node.replace_input_with(0, found.value("y"))
    with pytest.raises(VerifyError, match=r"cycle .*%b"):
        stable_order(found.graph)
    with pytest.raises(VerifyError, match="before it is computed"):
        verify(found)
