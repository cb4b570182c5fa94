"""Attentions of a program, fused or spelt out, and what they read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir

from netwright.ir.opinfo import int_attr, is_standard
from netwright.ir.program import Program
from netwright.ir.schemas import CONTRIB_DOMAIN
from netwright.ir.shapes import rank
from netwright.passes.rewrite import Miss, site_of
from netwright.passes.sparsify.walking import MOVES, weight_of

_THREE_INPUTS = ("GroupQueryAttention", "MultiHeadAttention")
_BETWEEN = frozenset({"Add", "Cast", "DequantizeLinear", "Div", "Dropout", "Identity", "Mul", "QuantizeLinear", "Sub", "Where"})
"""What may stand between the product of queries and keys and the softmax, and behind the softmax."""
_STEPS = 16


@dataclass(frozen=True, slots=True)
class Attending:
    """One attention.

    Attributes:
        name: of its result.
        query, key, value: what it reads, with the node and the number of the input.
        context: its result.
        softmax: the attention weights, where the graph has them.
    """

    name: str
    query: tuple[onnx_ir.Node, int]
    key: tuple[onnx_ir.Node, int]
    value: tuple[onnx_ir.Node, int]
    context: onnx_ir.Value
    softmax: onnx_ir.Value | None = None

    @property
    def reads(self) -> tuple[tuple[onnx_ir.Node, int], ...]:
        """The node and the number of each input through which it reads a map, those of the next layer included."""
        behind = _last_move(self.context)
        weights = () if self.softmax is None else tuple((use.node, use.idx) for use in self.softmax.uses())
        return (self.query, self.key, self.value, *((use.node, use.idx) for use in behind.uses()), *weights)

    def parts(self) -> Iterator[tuple[str, onnx_ir.Value]]:
        """The maps by kind."""
        for kind, (node, index) in (("query", self.query), ("key", self.key), ("value", self.value)):
            value = node.inputs[index]
            assert value is not None
            yield kind, value
        yield "context", _last_move(self.context)
        if self.softmax is not None:
            yield "softmax", self.softmax


def attentions(program: Program) -> Iterator[Attending | Miss]:
    """All attentions, in graph order; those that cannot be taken apart as misses."""
    for graph in program.graphs():
        for node in graph:
            found = _fused(node) if _is_fused(node) else _spelt_out(node) if is_standard(node, "Softmax") else None
            if found is None:
                continue
            if graph is program.graph:
                yield found
            else:
                yield Miss("its maps stand inside a branch, a loop or a function; run simplify first", site_of(node))


def _is_fused(node: onnx_ir.Node) -> bool:
    return is_standard(node, "Attention") or (node.domain == CONTRIB_DOMAIN and node.op_type in ("Attention", *_THREE_INPUTS))


def _fused(node: onnx_ir.Node) -> Attending | Miss:
    if node.domain == CONTRIB_DOMAIN and node.op_type == "Attention":
        return Miss("the node makes queries, keys and values itself: there is no value to make sparse", site_of(node))
    if len(node.inputs) < 3 or any(value is None for value in node.inputs[:3]):
        return Miss("queries, keys and values come packed in one value", site_of(node))
    return Attending(site_of(node), (node, 0), (node, 1), (node, 2), node.outputs[0])


def _spelt_out(softmax: onnx_ir.Node) -> Attending | None:
    last = rank(softmax.outputs[0])
    if last is None or last < 3 or int_attr(softmax, "axis", -1) not in (-1, last - 1):
        return None
    scores, weighted = _score_product(softmax.inputs[0]), _weighted_product(softmax.outputs[0])
    if scores is None or weighted is None:
        return None
    return Attending(site_of(weighted), (scores, 0), (scores, 1), (weighted, 1), weighted.outputs[0], softmax.outputs[0])


def _score_product(value: onnx_ir.Value | None) -> onnx_ir.Node | None:
    """The product of two computed values behind scale and mask."""
    pending, steps = [value], 0
    while pending and steps < _STEPS:
        current, steps = pending.pop(0), steps + 1
        node = current.producer() if current is not None else None
        if node is None:
            continue
        if is_standard(node, "MatMul") and all(weight_of(one) is None for one in node.inputs):
            return node
        if is_standard(node) and node.op_type in _BETWEEN | MOVES:
            pending.extend(node.inputs)
    return None


def _weighted_product(value: onnx_ir.Value) -> onnx_ir.Node | None:
    """The product of the softmax's rows with values."""
    pending, steps = [value], 0
    while pending and steps < _STEPS:
        current, steps = pending.pop(0), steps + 1
        for use in current.uses():
            if is_standard(use.node, "MatMul") and use.idx == 0:
                return use.node
            if is_standard(use.node) and use.node.op_type in _BETWEEN | MOVES:
                pending.append(use.node.outputs[0])
    return None


def _last_move(value: onnx_ir.Value) -> onnx_ir.Value:
    """A result with its axes moved, made sparse and rounded, as the next layer reads it."""
    while len(uses := tuple(value.uses())) == 1 and not value.is_graph_output():
        node = uses[0].node
        if not is_standard(node, *MOVES, "Shrink", "QuantizeLinear", "DequantizeLinear"):
            break
        value = node.outputs[0]
    return value
