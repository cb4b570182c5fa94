"""How exporters split a tensor into attention heads, join them again, and repeat key and value heads."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir

from netwright.ir.dims import Dim, dims_equal, is_known
from netwright.ir.opinfo import ints_attr
from netwright.passes.simplify.match import constant_ints, dims_of, only_reader, producer, reader

_HEADS_FIRST = (0, 2, 1, 3)


@dataclass(frozen=True, slots=True)
class Split:
    """`[B, S, H·D]` made `[B, H, S, D]` by Reshape and Transpose.

    Attributes:
        source: the tensor of rank 3.
        heads: H.
        size: D.
        nodes: the two nodes.
    """

    source: onnx_ir.Value
    heads: int
    size: int
    nodes: tuple[onnx_ir.Node, ...]


def same(a: Dim, b: Dim) -> bool:
    """True only of two dimensions that are known and equal."""
    return is_known(a) and dims_equal(a, b)


def split_heads(value: onnx_ir.Value | None, perm: tuple[int, ...] = _HEADS_FIRST) -> Split | None:
    """The tensor of rank 3 whose heads `value` is, transposed by `perm` ([B, H, S, D] unless told otherwise)."""
    lifted = producer(value, "Unsqueeze")
    if lifted is not None:
        return _single_head(lifted) if perm == _HEADS_FIRST else None
    turned = producer(value, "Transpose")
    split = producer(turned.inputs[0], "Reshape") if turned is not None and ints_attr(turned, "perm") == perm else None
    if turned is None or split is None or split.inputs[0] is None:
        return None
    source = split.inputs[0]
    flat, dims = dims_of(source), dims_of(split.outputs[0])
    if flat is None or dims is None or len(flat) != 3 or len(dims) != 4:
        return None
    heads, size = dims[2], dims[3]
    if not isinstance(heads, int) or not isinstance(size, int) or flat[2] != heads * size:
        return None
    if not (same(flat[0], dims[0]) and same(flat[1], dims[1])):
        return None
    return Split(source, heads, size, (split, turned))


def _single_head(lifted: onnx_ir.Node) -> Split | None:
    """One head only needs an axis of length 1."""
    source = lifted.inputs[0]
    dims = dims_of(source)
    if source is None or dims is None or len(dims) != 3 or constant_ints(lifted.inputs[1]) not in ((1,), (-3,)):
        return None
    size = dims[2]
    return Split(source, 1, size, (lifted,)) if isinstance(size, int) else None


def joined_heads(value: onnx_ir.Value) -> onnx_ir.Node | None:
    """The node that makes `[B, S, H·D]` of `[B, H, S, D]`, if nothing else reads the value: a Reshape after a Transpose.

    With one head it is a Squeeze, or a Reshape alone.
    """
    single = reader(value, "Squeeze", "Reshape")
    if single is not None:
        dims, flat = dims_of(value), dims_of(single.outputs[0])
        if dims is None or flat is None or len(dims) != 4 or len(flat) != 3 or dims[1] != 1:
            return None
        return single if all(same(a, b) for a, b in zip((dims[0], *dims[2:]), flat, strict=True)) else None
    turned = reader(value, "Transpose")
    if turned is None or ints_attr(turned, "perm") != _HEADS_FIRST:
        return None
    joined = reader(turned.outputs[0], "Reshape")
    if joined is None:
        return None
    dims, flat = dims_of(turned.outputs[0]), dims_of(joined.outputs[0])
    if dims is None or flat is None or len(dims) != 4 or len(flat) != 3:
        return None
    if not (same(flat[0], dims[0]) and same(flat[1], dims[1])):
        return None
    heads, size = dims[2], dims[3]
    if not isinstance(heads, int) or not isinstance(size, int) or flat[2] != heads * size:
        return None
    return joined


@dataclass(frozen=True, slots=True)
class Repeat:
    """Key or value heads, each repeated for a group of query heads.

    Attributes:
        source: `[B, K, S, D]`.
        times: G; the repeated tensor is `[B, K·G, S, D]`, copies of a head side by side.
        nodes: what repeats.
    """

    source: onnx_ir.Value
    times: int
    nodes: tuple[onnx_ir.Node, ...]


def repeated_heads(value: onnx_ir.Value | None) -> Repeat | None:
    """Match Unsqueeze (or Reshape) to `[B, K, 1, S, D]`, Expand to `[B, K, G, S, D]`, Reshape to `[B, K·G, S, D]`."""
    joined = producer(value, "Reshape")
    wide = producer(joined.inputs[0], "Expand") if joined is not None else None
    opened = producer(wide.inputs[0], "Unsqueeze", "Reshape") if wide is not None else None
    if joined is None or wide is None or opened is None or opened.inputs[0] is None:
        return None
    source = opened.inputs[0]
    shapes = [dims_of(one) for one in (source, opened.outputs[0], wide.outputs[0], joined.outputs[0])]
    narrow, lifted, spread, flat = shapes
    if (
        narrow is None
        or lifted is None
        or spread is None
        or flat is None
        or [len(s) for s in (narrow, lifted, spread, flat)] != [4, 5, 5, 4]
    ):
        return None
    heads, times, size = narrow[1], spread[2], narrow[3]
    if not isinstance(heads, int) or not isinstance(times, int) or not isinstance(size, int) or lifted[2] != 1:
        return None
    if flat[1] != heads * times or lifted[1] != heads or spread[1] != heads or not all(one[-1] == size for one in (lifted, spread, flat)):
        return None
    if not all(same(narrow[0], one[0]) and same(narrow[2], one[-2]) for one in (lifted, spread, flat)):
        return None
    if opened.op_type == "Unsqueeze" and constant_ints(opened.inputs[1]) not in ((2,), (-3,)):
        return None
    return Repeat(source, times, (opened, wide, joined))


def read_once(*values: onnx_ir.Value) -> bool:
    """Whether each value has one reader only and is no graph output."""
    return all(only_reader(value) is not None for value in values)
