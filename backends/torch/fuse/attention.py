"""Attention spelled out: `dropout(softmax(q kᵀ · scale + mask)) v`, as exporters write it.

What is recognised: the number beside the product, on q, on k before or after its transposition, or its root on both; one or
two added masks and one chosen by Where, in any order; a Cast to a wider type around the softmax; the guard
`Where(IsNaN(p), 0, p)`; Dropout on the weights; kᵀ through a Transpose, or through a Reshape to rank 3 and back.

Nothing matches in which an inner value has another reader, is an output, or is to be kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import onnx_ir

from netwright.backends.torch.fuse.pattern import contained, dims_of, rank, read_once, read_within, scaled_by, typed_by
from netwright.backends.torch.fuse.scalars import number
from netwright.ir.dims import dims_equal
from netwright.ir.opinfo import int_attr, ints_attr, is_float
from netwright.ir.program import Program, constant
from netwright.passes.simplify.match import producer

_ABSORBED = 32.0
"""A fill value beside which numbers up to half of this vanish by rounding counts as a mask."""
_PRECISION = {
    onnx_ir.DataType.FLOAT16: 2.0**-11,
    onnx_ir.DataType.BFLOAT16: 2.0**-8,
    onnx_ir.DataType.FLOAT: 2.0**-24,
    onnx_ir.DataType.DOUBLE: 2.0**-53,
}
_CHAIN = 12
"""Most nodes between product and softmax."""


@dataclass(frozen=True, slots=True)
class AttentionMatch:
    """One attention found in a graph.

    Attributes:
        root: the last node, whose output is the attention's.
        nodes: all nodes that one call replaces, the root included.
        q: queries [..., L, E].
        key: keys, transposed [..., E, S] or not [..., S, E].
        transposed: which of the two.
        v: values [..., S, D].
        mask: what is added to the scores.
        bias: a second one.
        keep: a condition that chooses between the scores and `fill`.
        inverted: the condition chooses the fill where it is true.
        fill: −∞, or a number so low that scores vanish beside it.
        scale: factor of the products.
        dropout: probability that a weight is dropped while training.
    """

    root: onnx_ir.Node
    nodes: tuple[onnx_ir.Node, ...]
    q: onnx_ir.Value
    key: onnx_ir.Value
    transposed: bool
    v: onnx_ir.Value
    mask: onnx_ir.Value | None
    bias: onnx_ir.Value | None
    keep: onnx_ir.Value | None
    inverted: bool
    fill: float
    scale: float
    dropout: float

    @property
    def output(self) -> onnx_ir.Value:
        """The attention's result [..., L, D]."""
        return self.root.outputs[0]

    @property
    def inputs(self) -> tuple[onnx_ir.Value | None, ...]:
        """What `fused_attention` takes as tensors, in order."""
        given = (self.q, self.key, self.v, self.mask, self.keep, self.bias)
        return given[: max(place for place, value in enumerate(given) if value is not None) + 1]

    @property
    def keywords(self) -> Mapping[str, bool | float]:
        """What `fused_attention` takes by name, `training` left out."""
        settings: dict[str, bool | float] = {"scale": self.scale, "transposed": self.transposed}
        if self.keep is not None:
            settings |= {"fill": self.fill, "inverted": self.inverted}
        if self.dropout:
            settings["dropout"] = self.dropout
        return settings


def find_attention(program: Program, keep: frozenset[str]) -> list[AttentionMatch]:
    """All attentions that are spelled out in a program, in graph order. Linear in its products.

    Args:
        program: read only; shapes and types inferred.
        keep: names of values that must be computed.
    """
    found = (_match(node, keep) for node in program.nodes("MatMul", domain=""))
    return [match for match in found if match is not None]


def _match(root: onnx_ir.Node, keep: frozenset[str]) -> AttentionMatch | None:
    v = root.inputs[1]
    weights = _weights(root.inputs[0])
    if weights is None or v is None or not is_float(v.dtype):
        return None
    scores = _scores(weights.softmax.inputs[0], _CHAIN)
    if scores is None or not is_float(scores.q.dtype) or scores.scale <= 0 or not math.isfinite(scores.scale):
        return None
    q, (left, left_nodes) = _unscaled(scores.q, keep)
    key, transposed, (right, right_nodes) = _key(scores.key, scores.nodes[0], keep)
    ranks = {rank(one) for one in (q, key, v, weights.softmax.inputs[0])}
    scale = scores.scale * left * right
    if len(ranks) != 1 or (ranks.pop() or 0) < 3 or not scale > 0 or not _same_types(q, key, v, root, weights, scores):
        return None
    if not all(_is_mask(mask, scores.product, q) for mask in (*scores.masks, scores.keep) if mask is not None):
        return None
    nodes = (*left_nodes, *right_nodes, *scores.nodes, *weights.nodes, root)
    if not contained(nodes, root, keep):
        return None
    mask, bias, *_ = (*scores.masks, None, None)
    return AttentionMatch(
        root=root,
        nodes=tuple(dict.fromkeys(nodes)),
        q=q,
        key=key,
        transposed=transposed,
        v=v,
        mask=mask,
        bias=bias,
        keep=scores.keep,
        inverted=scores.inverted,
        fill=scores.fill,
        scale=scale,
        dropout=weights.dropout,
    )


# ---- from the last product up to the softmax -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Weights:
    softmax: onnx_ir.Node
    nodes: tuple[onnx_ir.Node, ...]
    dropout: float


def _weights(value: onnx_ir.Value | None) -> _Weights | None:
    """The softmax that makes a value, through casts, dropout and the guard against NaN."""
    nodes: list[onnx_ir.Node] = []
    dropout = 0.0
    for _ in range(_CHAIN):
        node = producer(value, "Softmax", "Cast", "Identity", "Dropout", "Where")
        if node is None:
            return None
        nodes.append(node)
        if node.op_type == "Softmax":
            return _Weights(node, tuple(nodes), dropout) if _over_last_axis(node) else None
        if node.op_type == "Dropout":
            probability = _dropped(node)
            if probability is None or dropout:
                return None
            dropout, value = probability, node.inputs[0]
        elif node.op_type == "Where":
            guard = producer(node.inputs[0], "IsNaN")
            if guard is None or guard.inputs[0] is not node.inputs[2] or number(node.inputs[1], node.inputs[2]) != 0.0:
                return None
            nodes += [guard, *typed_by(node.inputs[1])]
            value = node.inputs[2]
        else:
            value = node.inputs[0]
    return None


def _over_last_axis(softmax: onnx_ir.Node) -> bool:
    dims = rank(softmax.inputs[0])
    return dims is not None and int_attr(softmax, "axis", -1) in (-1, dims - 1)


def _dropped(node: onnx_ir.Node) -> float | None:
    """The probability with which a Dropout drops while training; None where that is not known, or its mask is read."""
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        return None
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    ratio = node.inputs[1] if len(node.inputs) > 1 else None
    drops = 0.0 if mode is None else number(mode)
    probability = 0.5 if ratio is None else number(ratio)
    return None if drops is None or probability is None else probability * bool(drops)


# ---- from the softmax up to the first product ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scores:
    product: onnx_ir.Value
    q: onnx_ir.Value
    key: onnx_ir.Value
    nodes: tuple[onnx_ir.Node, ...]
    scale: float = 1.0
    masks: tuple[onnx_ir.Value, ...] = field(default=())
    keep: onnx_ir.Value | None = None
    inverted: bool = False
    fill: float = -math.inf

    @property
    def is_masked(self) -> bool:
        return bool(self.masks) or self.keep is not None


def _scores(value: onnx_ir.Value | None, depth: int) -> _Scores | None:
    """The product behind a value, with the factor and the masks in between."""
    node = producer(value, "MatMul", "Cast", "Identity", "Mul", "Div", "Add", "Where") if depth else None
    return None if node is None else _STEPS[node.op_type](node, depth - 1)


def _product(node: onnx_ir.Node, depth: int) -> _Scores | None:
    q, key = node.inputs
    if q is None or key is None or (rank(q) or 0) < 3 or (rank(key) or 0) < 3:
        return None
    return _Scores(node.outputs[0], q, key, (node,))


def _passed(node: onnx_ir.Node, depth: int) -> _Scores | None:
    inner = _scores(node.inputs[0], depth)
    return None if inner is None else replace(inner, nodes=(*inner.nodes, node))


def _multiplied(node: onnx_ir.Node, depth: int) -> _Scores | None:
    scaled = scaled_by(node.outputs[0])
    inner = None if scaled is None else _scores(scaled[0], depth)
    if scaled is None or inner is None or inner.is_masked:
        return None
    return replace(inner, scale=inner.scale * scaled[1], nodes=(*inner.nodes, *scaled[2]))


def _added(node: onnx_ir.Node, depth: int) -> _Scores | None:
    for scores, mask in (node.inputs, tuple(reversed(node.inputs))):
        inner = _scores(scores, depth)
        if inner is not None and mask is not None and len(inner.masks) < 2:
            return replace(inner, masks=(*inner.masks, mask), nodes=(*inner.nodes, node))
    return None


def _chosen(node: onnx_ir.Node, depth: int) -> _Scores | None:
    condition, chosen, other = node.inputs
    for scores, low, inverted in ((chosen, other, False), (other, chosen, True)):
        inner = _scores(scores, depth)
        fill = number(low, scores)
        if inner is None or inner.keep is not None or condition is None or fill is None or scores is None or not _hides(fill, scores.dtype):
            continue
        return replace(inner, keep=condition, inverted=inverted, fill=fill, nodes=(*inner.nodes, *typed_by(low), node))
    return None


_STEPS = {
    "MatMul": _product,
    "Cast": _passed,
    "Identity": _passed,
    "Mul": _multiplied,
    "Div": _multiplied,
    "Add": _added,
    "Where": _chosen,
}


def _hides(fill: float, dtype: onnx_ir.DataType | None) -> bool:
    """Whether scores vanish beside a fill value, so that adding it is the same as putting it in their place."""
    return dtype is not None and dtype in _PRECISION and fill * _PRECISION[dtype] <= -_ABSORBED / 2


# ---- operands ------------------------------------------------------------------------------------------------------

_Absorbed = tuple[float, tuple[onnx_ir.Node, ...]]


def _unscaled(value: onnx_ir.Value, keep: frozenset[str]) -> tuple[onnx_ir.Value, _Absorbed]:
    """A value without the number it is multiplied by, if nothing else reads the product."""
    scaled = scaled_by(value)
    if scaled is None or not read_once(value, keep) or constant(scaled[0]) is not None:
        return value, (1.0, ())
    return scaled[0], (scaled[1], scaled[2])


def _key(value: onnx_ir.Value, product: onnx_ir.Node, keep: frozenset[str]) -> tuple[onnx_ir.Value, bool, _Absorbed]:
    """Keys before they are transposed, if that can be undone; whether they are transposed still; what was left out."""
    turned, (after, after_nodes) = _unscaled(value, keep)
    found = _untransposed(turned) if read_within(turned, (*after_nodes, product), keep) else None
    if found is None:
        return turned, True, (after, after_nodes)
    source, nodes = found
    if not all(read_once(node.outputs[0], keep) for node in nodes[:-1]):
        return turned, True, (after, after_nodes)
    plain, (before, before_nodes) = _unscaled(source, keep)
    return plain, False, (after * before, (*before_nodes, *nodes, *after_nodes))


def _untransposed(value: onnx_ir.Value) -> tuple[onnx_ir.Value, tuple[onnx_ir.Node, ...]] | None:
    """The value of which this one is the transpose (last two axes), and the nodes in between."""
    node = producer(value, "Transpose")
    if node is not None and node.inputs[0] is not None:
        return (node.inputs[0], (node,)) if _swaps_last(ints_attr(node, "perm")) else None
    last = producer(value, "Reshape")
    turn = producer(last.inputs[0], "Transpose") if last is not None else None
    first = producer(turn.inputs[0], "Reshape") if turn is not None else None
    if last is None or turn is None or first is None or first.inputs[0] is None or not _swaps_last(ints_attr(turn, "perm")):
        return None
    source = first.inputs[0]
    before, middle, after = dims_of(source), dims_of(first.outputs[0]), dims_of(value)
    if before is None or middle is None or after is None or len(before) != len(after) or len(middle) < 2:
        return None
    wanted = (*before[:-2], before[-1], before[-2])
    same = all(dims_equal(one, other) for one, other in zip((*before[-2:], *wanted), (*middle[-2:], *after), strict=True))
    return (source, (first, turn, last)) if same else None


def _swaps_last(perm: tuple[int, ...]) -> bool:
    count = len(perm)
    return count > 1 and tuple(perm) == (*range(count - 2), count - 1, count - 2)


def _same_types(q: onnx_ir.Value, key: onnx_ir.Value, v: onnx_ir.Value, root: onnx_ir.Node, weights: _Weights, scores: _Scores) -> bool:
    """Whether all is of one type but the softmax, which may be computed in float32, as torch's kernels do."""
    types = {q.dtype, key.dtype, v.dtype, root.outputs[0].dtype}
    inner = weights.softmax.inputs[0]
    return len(types) == 1 and inner is not None and inner.dtype in (q.dtype, onnx_ir.DataType.FLOAT) and q.dtype in _PRECISION


def _is_mask(mask: onnx_ir.Value, product: onnx_ir.Value, q: onnx_ir.Value) -> bool:
    """Whether a mask broadcasts to the scores without making them larger, and is of a type that goes with them."""
    dims, wanted = dims_of(mask), dims_of(product)
    if dims is None or wanted is None or len(dims) > len(wanted) or mask.dtype not in (q.dtype, onnx_ir.DataType.BOOL):
        return False
    return all(dim == 1 or target != 1 for dim, target in zip(reversed(dims), reversed(wanted), strict=False))
