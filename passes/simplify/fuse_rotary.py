"""Rotary position embedding, spelt out, becomes RotaryEmbedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.dims import Dim
from netwright.ir.editor import Editor
from netwright.ir.opinfo import int_attr, is_float
from netwright.ir.program import Program
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Rule
from netwright.passes.simplify.match import constant_ints, dims_of, escaping, fusion, other_input, producer, read_elsewhere
from netwright.passes.simplify.match_heads import same


@dataclass(frozen=True, slots=True)
class _Angles:
    """What the cosine or sine is taken of, once for each pair of elements.

    Attributes:
        source: `[B or 1, S, D/2]`.
        function: the Cos or Sin node.
    """

    source: onnx_ir.Value
    function: onnx_ir.Node


@fusion("Add", since=23)
def fuse_rotary(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`x·cos + concat(−x₂, x₁)·sin` on `[B, H, S, D]`, x₁ and x₂ the halves of x, becomes RotaryEmbedding.

    Su et al., 2021, arXiv:2104.09864. ONNX Runtime wants cosines for every element of the batch, so those of a batch
    of one are expanded.
    """
    for first, second in (node.inputs, tuple(reversed(node.inputs))):
        plain, turned = producer(first, "Mul"), producer(second, "Mul")
        if plain is None or turned is None:
            return None
        rotated = next((found for value in turned.inputs if (found := _rotated(value)) is not None), None)
        if rotated is not None:
            return _fuse(node, plain, turned, rotated, program)
    return None


@dataclass(frozen=True, slots=True)
class _Rotated:
    """`concat(−x₂, x₁)`: x, the result, and the nodes that make it."""

    source: onnx_ir.Value
    result: onnx_ir.Value
    nodes: tuple[onnx_ir.Node, ...]


def _fuse(node: onnx_ir.Node, plain: onnx_ir.Node, turned: onnx_ir.Node, rotated: _Rotated, program: Program) -> Rewrite | Miss | None:
    source = rotated.source
    dims = dims_of(source)
    if dims is None or len(dims) != 4 or not is_float(source.dtype):
        return None
    cosine = _angles(other_input(plain, source), "Cos") if source in plain.inputs else None
    sine = _angles(other_input(turned, rotated.result), "Sin")
    if cosine is None or sine is None:
        return None
    if cosine.source is not sine.source:
        return Miss(f"rotary embedding: cosine of %{cosine.source.name}, but sine of %{sine.source.name}", site_of(node))
    angles = dims_of(cosine.source)
    size = dims[3]
    if angles is None or not isinstance(size, int) or angles[2] != size // 2 or not same(angles[1], dims[2]):
        return Miss(
            f"rotary embedding: angles of shape {cosine.source.shape} do not fit %{source.name} of shape {source.shape}", site_of(node)
        )
    place = None if same(angles[0], dims[0]) else _place_of(program, dims[0])
    if place is None and not same(angles[0], dims[0]):
        return Miss(f"rotary embedding: no input tells the batch {dims[0]} to which the angles must be expanded", site_of(node))
    outside = escaping([plain, turned, *rotated.nodes], node)
    if outside is not None:
        return read_elsewhere(outside, node, "rotary embedding")
    heads = dims[1] if isinstance(dims[1], int) else None

    def make(editor: Editor) -> onnx_ir.Value:
        spread = cosine.source
        if place is not None:
            value, axis = place
            batch = editor.op("Shape", [value], {"start": axis, "end": axis + 1}, name=f"{value.name}.batch")
            ones = editor.constant(np.ones(2, np.int64), "rotary.ones")
            shape = editor.op("Concat", [batch, ones], {"axis": 0}, name=f"{value.name}.batch_shape")
            spread = editor.op("Expand", [spread, shape], name=f"{spread.name}.expanded")
        tables = [editor.op(one.function.op_type, [spread], name=one.function.outputs[0].name or "") for one in (cosine, sine)]
        return editor.op("RotaryEmbedding", [source, *tables], {"interleaved": 0, "num_heads": heads}, like=node.outputs[0])

    return Rewrite.build(node, make, why="rotary position embedding")


def _place_of(program: Program, dim: Dim) -> tuple[onnx_ir.Value, int] | None:
    """An input of the program, and its axis, that has a dimension."""
    for value in program.inputs:
        for axis, found in enumerate(dims_of(value) or ()):
            if same(found, dim):
                return value, axis
    return None


def _rotated(value: onnx_ir.Value | None) -> _Rotated | None:
    joined = producer(value, "Concat")
    if joined is None or value is None or len(joined.inputs) != 2 or int_attr(joined, "axis", 0) not in (-1, 3):
        return None
    negated = producer(joined.inputs[0], "Neg")
    if negated is None:
        return None
    low, high = _half(joined.inputs[1], 0), _half(negated.inputs[0], 1)
    if low is None or high is None or low.inputs[0] is not high.inputs[0] or low.inputs[0] is None:
        return None
    return _Rotated(low.inputs[0], value, (joined, negated, low, high))


def _half(value: onnx_ir.Value | None, which: int) -> onnx_ir.Node | None:
    """The Slice or Split that makes a value of the first or second half of a last axis."""
    node = producer(value, "Slice", "Split")
    if node is None or node.inputs[0] is None:
        return None
    dims, made = dims_of(node.inputs[0]), dims_of(value)
    if dims is None or made is None or not isinstance(dims[-1], int) or dims[-1] % 2 or made[-1] != dims[-1] // 2:
        return None
    last = (-1, len(dims) - 1)
    if node.op_type == "Split":
        return node if len(node.outputs) == 2 and node.outputs[which] is value and int_attr(node, "axis", 0) in last else None
    starts, axes = constant_ints(node.inputs[1]), constant_ints(node.inputs[3]) if len(node.inputs) > 3 else None
    steps = constant_ints(node.inputs[4]) if len(node.inputs) > 4 and node.inputs[4] is not None else (1,)
    if starts is None or axes is None or steps != (1,) or len(starts) != 1 or len(axes) != 1 or axes[0] not in last:
        return None
    start = starts[0] if starts[0] >= 0 else starts[0] + dims[-1]
    return node if start == which * (dims[-1] // 2) else None


def _angles(value: onnx_ir.Value | None, function: str) -> _Angles | None:
    """The angles behind `[B or 1, 1, S, D]` cosines that repeat along the last axis."""
    lifted = producer(value, "Unsqueeze")
    made = producer(lifted.inputs[0], function) if lifted is not None and constant_ints(lifted.inputs[1]) in ((1,), (-3,)) else None
    doubled = producer(made.inputs[0], "Concat") if made is not None else None
    if made is None or doubled is None or len(doubled.inputs) != 2 or int_attr(doubled, "axis", 0) not in (-1, 2):
        return None
    first, second = doubled.inputs
    dims = dims_of(first)
    return _Angles(first, made) if first is second and first is not None and dims is not None and len(dims) == 3 else None


RULES: tuple[Rule, ...] = (fuse_rotary,)
