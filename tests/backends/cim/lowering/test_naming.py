"""Layers are called by their modules."""

from __future__ import annotations

from netwright.backends.cim.ops import layer_of
from netwright.ir.origin import MODULE
from tests.backends.cim.lowering.graphs import kernel, lowered, quantized

TWO = """
    v = DequantizeLinear <axis = 1> (w, ws, wz)
    f = MatMul (d, v)
    g = MatMul (d, v)
    y = Add (f, g)
"""


def layers(weight: str, *modules: str) -> list[str]:
    """What the two products of a program are called whose nodes come from modules."""
    program = quantized((1, 16), TWO, kernel(1, 16, 12, axis=1, bias=False))
    program.value("w").name = weight
    for node, module in zip(list(program.nodes("MatMul")), modules, strict=False):
        node.metadata_props[MODULE] = module
    return [layer_of(node) for node in lowered(program).nodes("CrossbarMatMul")]


def test_a_node_without_a_module_keeps_its_name() -> None:
    assert layers("w") == ["f", "g"]


def test_a_layer_is_called_by_its_module_once() -> None:
    assert layers("w", "head.0", "head.0") == ["head.0", "head.0#2"]
    assert layers("w", "head.0") == ["head.0", "g"]


def test_the_module_is_the_one_that_holds_the_weight() -> None:
    assert layers("stem.0.weight.integers", "stem.1", "other.1") == ["stem.0", "other.1"]
