"""Finding attentions: which channels of which projections every head uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.opinfo import int_attr, is_standard
from netwright.ir.program import Program, array
from netwright.passes.prune.importance.tracing import Channels, carried, unit_shape
from netwright.passes.statistics import LinearLayer, layer_of

_OPERATORS = ("Attention", "MultiHeadAttention", "GroupQueryAttention")
"""Operators that take queries, keys and values as their first inputs; the number of heads by attribute."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A linear layer that makes queries, keys or values.

    Attributes:
        weight: name of its constant.
        matrix: [outputs, inputs], float64.
        bias: [outputs], float64.
        data: name of what it multiplies.
    """

    weight: str
    matrix: np.ndarray
    bias: np.ndarray
    data: str


@dataclass(slots=True, eq=False)
class Attention:
    """One attention: which channels of its projections each query head uses.

    Attributes:
        query, key, value: projection and channels, [heads, features]; a key or value head may serve several query heads.
        output: the weight that consumes the heads as [outputs, channels], and for each of its channels `head · features + feature`.
    """

    query: tuple[Projection, np.ndarray]
    key: tuple[Projection, np.ndarray]
    value: tuple[Projection, np.ndarray] | None = None
    output: tuple[np.ndarray, np.ndarray] | None = None


def attentions(program: Program) -> list[Attention]:
    """The attentions of the main graph that are made of traceable projections; linear in nodes."""
    return _Search(program).run()


class _Search:
    """One walk over the main graph."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._known: dict[onnx_ir.Value, Channels] = {}
        self._projections: dict[int, Projection] = {}
        self._pending: dict[onnx_ir.Value, Attention] = {}
        self._results: dict[int, Attention] = {}
        self._found: list[Attention] = []

    def run(self) -> list[Attention]:
        for node in self._program.graph:
            layer = layer_of(node)
            if layer is not None:
                self._linear(node, layer)
            elif node.op_type in _OPERATORS and (node.domain == "com.microsoft") != (node.op_type == "Attention"):
                self._operator(node)
            elif is_standard(node, "MatMul"):
                self._product(node)
            else:
                self._bias(node)
                self._pass_on(node)
        return self._found

    def _linear(self, node: onnx_ir.Node, layer: LinearLayer) -> None:
        seen = self._known.get(layer.data)
        if seen is not None and seen.source in self._results and layer.window is None:
            one = self._results[seen.source]
            if one.output is None and not layer.left and seen.index.shape[-1] == layer.channels:
                one.output = (layer.matrices()[0], seen.index.reshape(-1, layer.channels)[0])
        shape = unit_shape(layer.output)
        if layer.window is not None or layer.left or shape is None or shape[-1] != layer.outputs:
            return
        bias = array(node.inputs[2]) if node.op_type == "Gemm" and len(node.inputs) > 2 else None
        offset = np.broadcast_to(bias, shape).reshape(-1, layer.outputs)[0] if bias is not None else np.zeros(layer.outputs)
        self._start(layer.output, layer.weight.name or "", layer.matrices()[0], offset, layer.data.name or "", shape)

    def _start(self, value: onnx_ir.Value, weight: str, matrix: np.ndarray, bias: np.ndarray, data: str, shape: tuple[int, ...]) -> None:
        number = len(self._projections)
        self._projections[number] = Projection(weight, matrix, bias.astype(np.float64), data)
        self._known[value] = Channels(number, np.broadcast_to(np.arange(shape[-1]), shape))

    def _bias(self, node: onnx_ir.Node) -> None:
        """A constant that is added to what a projection has just made is its bias."""
        if not is_standard(node, "Add") or len(node.inputs) != 2:
            return
        for value, other in (node.inputs, node.inputs[::-1]):
            seen = self._known.get(value) if value is not None else None
            bias = array(other, limit=1 << 20)
            if seen is None or bias is None or seen.source not in self._projections or bias.shape[-1:] != seen.index.shape[-1:]:
                continue
            before = self._projections[seen.source]
            if before.bias.any() or bias.size != bias.shape[-1] or len(before.bias) != bias.size:
                continue
            self._projections[seen.source] = Projection(before.weight, before.matrix, bias.reshape(-1).astype(np.float64), before.data)

    def _pass_on(self, node: onnx_ir.Node) -> None:
        for output, found in zip(node.outputs, carried(node, self._known), strict=True):
            if found is not None:
                self._known[output] = found
        for value in node.inputs:  # masks, scales and softmax between the two products
            if value is not None and value in self._pending:
                self._pending.update((output, self._pending[value]) for output in node.outputs)

    def _product(self, node: onnx_ir.Node) -> None:
        left, right = node.inputs[0], node.inputs[1]
        if left is None or right is None or right not in self._known:
            return
        offered = self._known[right]
        if left in self._known:
            asked = self._known[left]
            if asked.source in self._projections and offered.source in self._projections:
                rows = _aligned(asked.index, np.swapaxes(offered.index, -1, -2))
                if rows is not None:
                    query, key = self._projections[asked.source], self._projections[offered.source]
                    heads = _distinct(*rows)
                    self._pending[node.outputs[0]] = Attention((query, rows[0][heads]), (key, rows[1][heads]))
            return
        one = self._pending.get(left)
        if one is None or offered.source not in self._projections:
            return
        heads = len(one.query[1])
        values = _by_head(offered.index, heads)
        if values is not None:
            self._finish(one, node.outputs[0], offered.source, values)

    def _finish(self, one: Attention, output: onnx_ir.Value, source: int, values: np.ndarray) -> None:
        """The attention has its values, [heads, features]; its result is traced from here."""
        one.value = (self._projections[source], values)
        self._found.append(one)
        number = -1 - len(self._results)
        self._results[number] = one
        heads, features = int(values.shape[0]), int(values.shape[1])
        shape = unit_shape(output)
        if shape is None or shape[-1] not in (features, heads * features):
            return
        own = np.arange(heads * features)
        if shape[-1] == features and heads > 1:  # [.., heads, tokens, features]
            if len(shape) < 3 or shape[-3] % heads:
                return
            own = np.tile(own.reshape(heads, 1, features), (shape[-3] // heads, 1, 1))
        self._known[output] = Channels(number, np.broadcast_to(own, shape))

    def _operator(self, node: onnx_ir.Node) -> None:
        parts = [self._known.get(value) if value is not None else None for value in node.inputs[:3]]
        query, key, value = (*parts, None, None, None)[:3]
        if query is None or key is None or value is None or any(part.source not in self._projections for part in (query, key, value)):
            return
        heads = int_attr(node, "q_num_heads", 0) or int_attr(node, "num_heads", 0)
        kv_heads = int_attr(node, "kv_num_heads", 0) or heads
        self._with_heads(node.outputs[0], query, key, value, heads, kv_heads)

    def _with_heads(self, output: onnx_ir.Value, query: Channels, key: Channels, value: Channels, heads: int, kv_heads: int) -> None:
        """Queries, keys and values as operators take them: [.., tokens, heads · features], or with an axis of heads already."""
        if query.index.ndim == 4:
            heads, kv_heads = query.index.shape[1], key.index.shape[1]
        if not heads or not kv_heads or heads % kv_heads:
            return
        asked = _token(query.index).reshape(heads, -1)
        offered, held = (np.repeat(_token(part.index).reshape(kv_heads, -1), heads // kv_heads, axis=0) for part in (key, value))
        one = Attention((self._projections[query.source], asked), (self._projections[key.source], offered))
        self._finish(one, output, value.source, held)


def _aligned(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Both operands' channels of their first token, [heads, features], a head of the right one repeated where it serves several."""
    if left.shape[-1] != right.shape[-1]:
        return None
    try:
        both = np.broadcast_arrays(left[..., 0, :], right[..., 0, :])
    except ValueError:
        return None
    return both[0].reshape(-1, left.shape[-1]), both[1].reshape(-1, left.shape[-1])


def _distinct(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Numbers of the rows that are not there before: a fixed batch repeats its heads."""
    _, first = np.unique(np.concatenate([queries, keys], axis=1), axis=0, return_index=True)
    return np.sort(first)


def _by_head(index: np.ndarray, heads: int) -> np.ndarray | None:
    """Values [.., heads, tokens, features] as [heads, features]; a head that serves several is repeated."""
    rows = index[..., 0, :].reshape(-1, index.shape[-1])
    rows = rows[_distinct(rows, rows)] if len(rows) > heads else rows
    return None if heads % len(rows) else np.repeat(rows, heads // len(rows), axis=0)


def _token(index: np.ndarray) -> np.ndarray:
    """The first sample's first token: of [batch, tokens, channels], or [batch, heads, tokens, features]."""
    return index[0, :, 0, :] if index.ndim == 4 else index.reshape(-1, index.shape[-1])[0]
