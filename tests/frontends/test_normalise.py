"""Constants become initializers, nodes get names and an order."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir
import pytest

from netwright.frontends.normalise import lift_constants, name_nodes, sort_nodes
from netwright.ir.errors import ModelFileError


def parsed(text: str) -> onnx_ir.Model:
    return onnx_ir.from_proto(onnx.parser.parse_model(text))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("value = float[2] {1, 2}", np.array([1, 2], np.float32)),
        ("value_float = 1.5", np.array(1.5, np.float32)),
        ("value_floats = [1.5, 2.5]", np.array([1.5, 2.5], np.float32)),
        ("value_int = 3", np.array(3)),
        ("value_ints = [3, 4]", np.array([3, 4])),
    ],
)
def test_every_form_of_constant_is_lifted(form: str, expected: np.ndarray) -> None:
    model = parsed(f'<ir_version: 10, opset_import: ["": 20]> g () => (float y) {{ k = Constant <{form}> () y = Identity(k) }}')
    assert lift_constants(model) == 1
    tensor = model.graph.initializers["k"].const_value
    assert tensor is not None
    np.testing.assert_array_equal(tensor.numpy(), expected)
    assert tensor.numpy().dtype == expected.dtype
    assert [node.op_type for node in model.graph] == ["Identity"]


def test_strings_are_lifted() -> None:
    model = parsed(
        '<ir_version: 10, opset_import: ["": 20]> g () => (string y) { k = Constant <value_strings = ["a", "b"]> () y = Identity(k) }'
    )
    lift_constants(model)
    tensor = model.graph.initializers["k"].const_value
    assert tensor is not None
    assert tensor.numpy().tolist() == [b"a", b"b"]


def test_constants_in_branches_are_lifted_to_the_branch() -> None:
    model = parsed("""<ir_version: 10, opset_import: ["": 20]> g (bool c) => (float y) {
        y = If (c) <then_branch = a () => (float t) { k = Constant <value = float {1}> () t = Neg(k) },
                    else_branch = b () => (float e) { e = Constant <value = float {2}> () }> }""")
    assert lift_constants(model) == 1
    node = next(iter(model.graph))
    assert list(node.attributes["then_branch"].as_graph().initializers) == ["k"]
    assert [inner.op_type for inner in node.attributes["else_branch"].as_graph()] == ["Constant"]


def test_constants_of_functions_stay() -> None:
    model = parsed("""<ir_version: 10, opset_import: ["": 20, "f": 1]> g (float x) => (float y) { y = f.add(x) }
        <domain: "f", opset_import: ["": 20]> add (a) => (b) { k = Constant <value = float {1}> () b = Add(a, k) }""")
    assert lift_constants(model) == 0


def test_nameless_and_equally_named_nodes_get_names_of_their_own() -> None:
    model = parsed('<ir_version: 10, opset_import: ["": 20]> g (float x) => (float c) { a = Neg(x) b = Neg(a) c = Neg(b) }')
    nodes = list(model.graph)
    nodes[0].name, nodes[1].name, nodes[2].name = "n", "n", None
    name_nodes(model)
    assert [node.name for node in model.graph] == ["n", "n.1", "c"]


def test_nodes_are_put_in_order() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> g (float x) => (float c) { a = Neg(x) b = Abs(a) c = Exp(b) }'
    )
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))
    model = onnx_ir.from_proto(proto)
    sort_nodes(model, "here")
    assert [node.op_type for node in model.graph] == ["Neg", "Abs", "Exp"]


def test_a_cycle_is_an_error_that_names_it() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> g (float x) => (float c) { a = Add(x, b) b = Abs(a) c = Exp(x) }'
    )
    with pytest.raises(ModelFileError, match="cycle through 'a'") as caught:
        sort_nodes(onnx_ir.from_proto(proto), "here")
    assert caught.value.place == "here"
