"""Where units end: the axes that a node sums over, so that what comes out does not have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir

from netwright.ir.coupling.rules.recurrent import is_zero
from netwright.ir.coupling.rules.reducing import reduced_axes
from netwright.ir.coupling.rules.table import given
from netwright.ir.coupling.walk import Mode
from netwright.ir.dims import shape_of
from netwright.ir.opinfo import int_attr, str_attr


@dataclass(frozen=True, slots=True)
class Ends:
    """Axes of a node's inputs, weights among them, that it sums over together; a zero in one of them is enough."""

    axes: tuple[tuple[onnx_ir.Value, int], ...]


def ends(node: onnx_ir.Node, mode: Mode) -> list[Ends]:
    """The axes that a node sums over.

    Args:
        node: any node.
        mode: along which factor of cut axes units lie.
    """
    find = _ENDS.get(node.op_type)
    return find(node, mode) if find is not None else []


def _rank(node: onnx_ir.Node, number: int) -> int:
    value = given(node, number)
    return len(shape_of(value) or ()) if value is not None else 0


def _together(node: onnx_ir.Node, *places: tuple[int, int]) -> Ends:
    """Axes of inputs by number; those that are left out are none."""
    return Ends(tuple((value, axis) for number, axis in places if (value := given(node, number)) is not None))


def _convolution(node: onnx_ir.Node, mode: Mode) -> list[Ends]:
    """Channels in. With groups, of which whole ones go, they go with the channels out; so where each has one channel in."""
    turned = node.op_type == "ConvTranspose"
    if int_attr(node, "group", 1) == 1:
        return [_together(node, (0, 1), (1, 0 if turned else 1))]
    weight = given(node, 1)
    dims = shape_of(weight) if weight is not None else None
    return [_together(node, (0, 1))] if mode == "inner" and dims and dims[1] != 1 else []


def _matmul(node: onnx_ir.Node, _mode: Mode) -> list[Ends]:
    return [_together(node, (0, _rank(node, 0) - 1), (1, max(_rank(node, 1) - 2, 0)))]


def _gemm(node: onnx_ir.Node, _mode: Mode) -> list[Ends]:
    return [_together(node, (0, 0 if int_attr(node, "transA", 0) else 1), (1, 1 if int_attr(node, "transB", 0) else 0))]


def _einsum(node: onnx_ir.Node, _mode: Mode) -> list[Ends]:
    """Letters that do not come out."""
    sources, _, result = str_attr(node, "equation", "").replace(" ", "").partition("->")
    places: dict[str, list[tuple[int, int]]] = {}
    for number, term in enumerate(sources.split(",")):
        for axis, letter in enumerate(term):
            if letter not in result:
                places.setdefault(letter, []).append((number, axis))
    return [_together(node, *found) for found in places.values()]


def _recurrent(node: onnx_ir.Node, _mode: Mode) -> list[Ends]:
    """Features in; and hidden units that do not begin at zero, since the others see them."""
    begins = [(number, value) for number in (5, 6) if (value := given(node, number)) is not None and not is_zero(value)]
    return [_together(node, (0, 2), (1, 2)), *(_together(node, (number, 2)) for number, _ in begins)]


def _reduction(node: onnx_ir.Node, _mode: Mode) -> list[Ends]:
    return [_together(node, (0, axis)) for axis in sorted(reduced_axes(node, _rank(node, 0)) or ())]


def _norm(node: onnx_ir.Node, _mode: Mode) -> list[Ends]:
    """What the mean square is taken over: units come out of it, but what they hold counts for the others."""
    rank = _rank(node, 0)
    return [_together(node, (0, axis)) for axis in range(int_attr(node, "axis", -1) % max(rank, 1), rank)]


def _unit_vectors(node: onnx_ir.Node, _mode: Mode) -> list[Ends]:
    return [_together(node, (0, int_attr(node, "axis", -1) % max(_rank(node, 0), 1)))]


def _attention(past: int) -> Callable[[onnx_ir.Node, Mode], list[Ends]]:
    """Features of queries and of keys, those of earlier ones among them."""

    def find(node: onnx_ir.Node, mode: Mode) -> list[Ends]:
        if mode == "outer":
            return []
        query = (0, _rank(node, 0) - 1)
        earlier = [_together(node, query, (past, 3))] if given(node, past) is not None else []
        return [_together(node, query, (1, _rank(node, 1) - 1)), *earlier]

    return find


_ENDS: Mapping[str, Callable[[onnx_ir.Node, Mode], list[Ends]]] = {
    "Attention": _attention(past=4),
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Einsum": _einsum,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "GroupQueryAttention": _attention(past=3),
    "LSTM": _recurrent,
    "LpNormalization": _unit_vectors,
    "MatMul": _matmul,
    "MultiHeadAttention": _attention(past=6),
    "RMSNormalization": _norm,
    "RNN": _recurrent,
    "ReduceL1": _reduction,
    "ReduceL2": _reduction,
    "ReduceLogSum": _reduction,
    "ReduceLogSumExp": _reduction,
    "ReduceMax": _reduction,
    "ReduceMean": _reduction,
    "ReduceMin": _reduction,
    "ReduceProd": _reduction,
    "ReduceSum": _reduction,
    "ReduceSumSquare": _reduction,
    "SimplifiedLayerNormalization": _norm,
}
"""By operator; of domains that have rules of coupling, in which names mean the same."""
