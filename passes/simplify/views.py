"""Reshape, Flatten, Squeeze, Unsqueeze and the transpositions that move only axes of length 1: one family, since each
keeps the elements in their order. A chain of them is one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.dims import Dim, dims_equal, is_known, same_dims, shape_of
from netwright.ir.editor import Editor, can_replace
from netwright.ir.opinfo import is_standard
from netwright.ir.program import Program, constant
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import rule
from netwright.passes.simplify.facts import integers, perm_of, producer, sole_use

VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


@dataclass(frozen=True, slots=True)
class View:
    """How to give a value other dimensions: the operator and its shape or axes input; no operator where nothing changes."""

    op_type: str = ""
    operand: tuple[int, ...] = ()

    def build(self, editor: Editor, source: onnx_ir.Value, like: onnx_ir.Value) -> onnx_ir.Value:
        """Insert the node, or hand back the source."""
        if not self.op_type:
            return source
        operand = editor.constant(np.array(self.operand, np.int64), "shape" if self.op_type == "Reshape" else "axes")
        return editor.op(self.op_type, [source, operand], like=like)


def plan_view(source: Sequence[Dim], target: Sequence[Dim]) -> View | None:
    """The one operator that turns dimensions `source` into `target`, elements in order; None where no constant says it.

    A Reshape's constant can copy a dimension from the same place (0) and leave one to be worked out (−1).
    """
    if same_dims(source, target):
        return View()
    if len(target) > len(source) and (added := _inserted(source, target)) is not None:
        return View("Unsqueeze", added)
    if len(target) < len(source) and (dropped := _inserted(target, source)) is not None:
        return View("Squeeze", dropped)
    shape = reshape_target(source, target)
    return None if shape is None else View("Reshape", shape)


def reshape_target(source: Sequence[Dim], target: Sequence[Dim]) -> tuple[int, ...] | None:
    """A constant shape for Reshape (without `allowzero`), else None."""
    if any(isinstance(dim, int) and dim == 0 for dim in target):
        return None
    shape: list[int] = []
    for axis, dim in enumerate(target):
        if isinstance(dim, int):
            shape.append(dim)
        elif axis < len(source) and dims_equal(dim, source[axis]):
            shape.append(0)
        elif is_known(dim) and -1 not in shape:
            shape.append(-1)
        else:
            return None
    return tuple(shape)


def _inserted(shorter: Sequence[Dim], longer: Sequence[Dim]) -> tuple[int, ...] | None:
    """The axes of `longer` that are 1 and without which it is `shorter`, else None."""
    axes: list[int] = []
    at = 0
    for axis, dim in enumerate(longer):
        if at < len(shorter) and dims_equal(dim, shorter[at]):
            at += 1
        elif isinstance(dim, int) and dim == 1:
            axes.append(axis)
        else:
            return None
    return tuple(axes) if at == len(shorter) else None


def is_view(node: onnx_ir.Node) -> bool:
    """True of nodes that keep all elements in their order."""
    if not is_standard(node):
        return False
    return node.op_type in VIEWS or (node.op_type == "Transpose" and moves_only_ones(node))


def moves_only_ones(node: onnx_ir.Node) -> bool:
    """True of a Transpose in which the axes that are longer than 1 keep their order."""
    perm, dims = perm_of(node), shape_of(node.inputs[0])
    if perm is None or dims is None:
        return False
    kept = [axis for axis in perm if not (isinstance(dims[axis], int) and dims[axis] == 1)]
    return kept == sorted(kept)


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
def merge_views(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A view of a view is a view of the source."""
    middle, out = node.inputs[0], node.outputs[0]
    inner = middle.producer() if middle is not None else None
    if middle is None or inner is None or not is_view(inner) or not is_view(node):
        return None
    if node.op_type == "Transpose" and inner.op_type == "Transpose":
        return None
    source = inner.inputs[0]
    before, after = shape_of(source), shape_of(out)
    if source is None or before is None or after is None:
        return None
    view = plan_view(before, after)
    if view is None:
        return None
    if not view.op_type:
        return Rewrite.replace(out, by=source, why="a view and back") if can_replace(out, source) else None
    if sole_use(middle) is None:
        return None
    return Rewrite.build(node, lambda editor: view.build(editor, source, out), why=f"{node.op_type} of {inner.op_type}")


@rule("Reshape")
def constant_target(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """A computed shape that is a constant one once 0 copies a dimension and −1 works one out."""
    source, target = node.inputs[:2]
    if source is None or target is None or constant(target) is not None:
        return None
    out = node.outputs[0]
    before, after = shape_of(source), shape_of(out)
    if before is None or after is None:
        return Miss("a computed target shape, and the rank of the value or of the result is unknown", site_of(node))
    shape = reshape_target(before, after)
    if shape is None:
        found = sum(
            not isinstance(dim, int) and not (axis < len(before) and dims_equal(dim, before[axis])) for axis, dim in enumerate(after)
        )
        return Miss(
            f"{found} dimensions of the computed target shape are neither known nor copied, and −1 stands for one only", site_of(node)
        )
    return Rewrite.build(
        node,
        lambda editor: editor.op("Reshape", [source, editor.constant(np.array(shape, np.int64), "shape")], like=out),
        why=f"target is {list(shape)}",
    )


@rule("Reshape")
def transpose_between_reshapes(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Reshape, Transpose, Reshape where the first merges axes and the last splits them again: one Transpose."""
    out = node.outputs[0]
    middle = producer(node.inputs[0], "Transpose")
    first = producer(middle.inputs[0], *VIEWS) if middle is not None else None
    if middle is None or first is None or sole_use(middle.outputs[0]) is None:
        return None
    source, perm = first.inputs[0], perm_of(middle)
    before, merged, after = shape_of(source), shape_of(first.outputs[0]), shape_of(out)
    if source is None or perm is None or before is None or merged is None or after is None or len(before) != len(after):
        return None
    groups = _one_merged_group(before, merged)
    if groups is None:
        return None
    whole = [axis for group in perm for axis in groups[group]]
    if not same_dims([before[axis] for axis in whole], after):
        return None
    return Rewrite.build(
        node, lambda editor: editor.op("Transpose", [source], {"perm": whole}, like=out), why="reshape, transpose, reshape back"
    )


def _one_merged_group(before: Sequence[Dim], merged: Sequence[Dim]) -> list[range] | None:
    """The axes of `before` that each axis of `merged` stands for, where at most one stands for several."""
    extra = len(before) - len(merged)
    if extra <= 0 or not merged:
        return None
    front = 0
    while front < len(merged) - 1 and dims_equal(before[front], merged[front]):
        front += 1
    if not all(dims_equal(before[axis + extra], merged[axis]) for axis in range(front + 1, len(merged))):
        return None
    return [
        *(range(axis, axis + 1) for axis in range(front)),
        range(front, front + extra + 1),
        *(range(axis + extra, axis + extra + 1) for axis in range(front + 1, len(merged))),
    ]


@rule("Reshape")
def unflatten_gemm(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A Gemm on rows flattened for it and unflattened after is a MatMul (and an Add) that takes the axes as they are."""
    out = node.outputs[0]
    gemm = producer(node.inputs[0], "Gemm")
    flat = producer(gemm.inputs[0], "Reshape") if gemm is not None else None
    if gemm is None or flat is None or sole_use(gemm.outputs[0]) is None or not _is_plain(gemm):
        return None
    source, weight = flat.inputs[0], gemm.inputs[1]
    bias = gemm.inputs[2] if len(gemm.inputs) > 2 else None
    before, rows, after = shape_of(source), shape_of(flat.outputs[0]), shape_of(out)
    bias_dims = shape_of(bias) if bias is not None else ()
    if source is None or weight is None or before is None or rows is None or after is None or bias_dims is None or len(bias_dims) > 1:
        return None
    if len(after) < 3 or not same_dims([after[-1]], [(shape_of(weight) or (0,))[-1]]):
        return None
    leading = (*after[:-1], rows[1])
    view = plan_view(before, leading)
    if view is None or (view.op_type and sole_use(flat.outputs[0]) is None):
        return None

    def make(editor: Editor) -> onnx_ir.Value:
        if view.op_type:
            operand = editor.constant(np.array(view.operand, np.int64), "shape")
            taken = editor.op(view.op_type, [source, operand], name=flat.outputs[0].name or "")
        else:
            taken = source
        product = editor.op("MatMul", [taken, weight], like=out, name=gemm.outputs[0].name or "")
        return product if bias is None else editor.op("Add", [product, bias], like=out)

    return Rewrite.build(node, make, why="rows flattened for a Gemm and unflattened after")


def _is_plain(gemm: onnx_ir.Node) -> bool:
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
    return all(attr.is_ref() is False and attr.value == plain[name] for name, attr in gemm.attributes.items() if name in plain)


@rule("Unsqueeze", "Squeeze")
def positive_axes(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Axes counted from the front, so that equal nodes look equal."""
    if len(node.inputs) < 2:
        return None
    axes = integers(node.inputs[1])
    longer = shape_of(node.outputs[0] if node.op_type == "Unsqueeze" else node.inputs[0])
    if axes is None or longer is None or all(axis >= 0 for axis in axes):
        return None
    front = sorted(axis % len(longer) for axis in axes)

    def change(editor: Editor) -> None:
        editor.set_input(node, 1, editor.constant(np.array(front, np.int64), "axes"))

    return Rewrite.edit(site_of(node), f"axes {front}", change, anchor=node)


RULES = (merge_views, constant_target, transpose_between_reshapes, unflatten_gemm)
