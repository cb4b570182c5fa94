"""Products of two activations, as of attention: both operands on grids, where a target multiplies integers that are both computed."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir

from netwright.ir.editor import Editor
from netwright.passes.quantize.static.operators import moves_integers
from netwright.passes.quantize.static.pairs import Pairs
from netwright.passes.quantize.static.regions import Regions
from netwright.passes.quantize.units import Unit


def quantize_pair(node: onnx_ir.Node, pairs: Pairs, regions: Regions, editor: Editor) -> None:
    """Put both operands of a MatMul on their grids, and its result where that goes on as integers."""
    for index in (0, 1):
        pairs.read(editor, node, index)
    if node in regions.results:
        pairs.settle(editor, regions.tails[node].last)


def right_operands(units: Iterable[Unit]) -> frozenset[str]:
    """Names of the values that are nothing but right operands of such products, moved about or not.

    They stand where weights stand: a grid around 0 saves the sums of the left operand that a zero point would ask for.
    """
    products = {site.node for unit in units for site in unit.sites if site.kind == "pair"}
    found = (_root(node.inputs[1]) for node in products)
    return frozenset(value.name or "" for value in found if value is not None and _only_right(value, products))


def _root(value: onnx_ir.Value | None) -> onnx_ir.Value | None:
    """What a value was before operators that move integers moved it."""
    while value is not None and (node := value.producer()) is not None and moves_integers(node):
        value = node.inputs[0]
    return value


def _only_right(value: onnx_ir.Value, products: set[onnx_ir.Node]) -> bool:
    if value.is_graph_output():
        return False
    for user, index in value.uses():
        if user in products:
            if index != 1:
                return False
        elif not moves_integers(user) or index != 0 or not all(_only_right(made, products) for made in user.outputs):
            return False
    return True
