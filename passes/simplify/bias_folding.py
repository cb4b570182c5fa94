"""Constant summands go into biases; a product and its bias become one Gemm, or leave one that only reshapes around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

from netwright.ir.dims import Dim, dims_equal
from netwright.ir.editor import Editor, can_replace
from netwright.ir.maps import Affine, Mapped
from netwright.ir.opinfo import int_attr, ints_attr, is_float
from netwright.ir.program import Program, constant
from netwright.ir.shapes import rank, same_shape
from netwright.passes.numerics import Exact
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Rule
from netwright.passes.simplify.match import dims_of, fusion, only_reader, producer, reader, readers, split_constant
from netwright.passes.simplify.match_heads import same
from netwright.passes.simplify.parameters import linear, per_channel, refusal, shift

_MERGED_ELEMENTS = 1 << 16
"""Largest constant that merging two constants may make."""


@fusion("Add", "Sub")
def fold_bias(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """A constant summand goes into the bias of the Conv, Gemm or norm before it."""
    split = split_constant(node)
    if split is None or (node.op_type == "Sub" and split[1] is not node.inputs[1]):
        return None
    source, summand_value = split
    found = linear(source.producer(), program)
    if found is None or found.kind.bias is None:
        return None
    summand = per_channel(summand_value, found)
    if summand is None:
        return None
    if only_reader(source) is None:
        return Miss(f"bias of {found.node.op_type}: {readers(source)}", site_of(node))
    reason = refusal(found, program, None)
    if reason:
        return Miss(f"bias of {found.node.op_type}: {reason}", site_of(node))
    if not can_replace(node.outputs[0], source):
        return None
    signed = -summand if node.op_type == "Sub" else summand

    def change(editor: Editor) -> None:
        shift(editor, found, signed)
        editor.at(node).replace(node.outputs[0], source)

    return Rewrite.edit(site_of(node), f"bias into {found.node.op_type} %{source.name}", change, anchor=node)


@fusion("Add", "Mul")
def merge_vectors(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """`(x + a) + b` becomes `x + (a + b)`, and likewise for products, where a and b are vectors along the same axis."""
    split = split_constant(node)
    inner = producer(split[0], node.op_type) if split is not None else None
    before = split_constant(inner) if inner is not None else None
    if split is None or inner is None or before is None or only_reader(split[0]) is not node or "Trainable" in program.properties:
        return None
    source, first = before
    a, b = constant(first), constant(split[1])
    if not is_float(source.dtype) or a is None or b is None or max(a.size, b.size) > _MERGED_ELEMENTS or a.dtype != b.dtype:
        return None
    shape = np.broadcast_shapes(*(tuple(int(dim) for dim in tensor.shape.numpy()) for tensor in (a, b)))
    if a.size == 1 or b.size == 1 or int(np.prod(shape)) > max(a.size, b.size):
        return None

    def make(editor: Editor) -> onnx_ir.Value:
        left, right = a.numpy().astype(np.float64), b.numpy().astype(np.float64)
        made = left + right if node.op_type == "Add" else left * right
        merged = editor.constant(made.astype(a.numpy().dtype), first.name or "constant")
        if made.shape == left.shape:
            mapped = Affine(shift=right) if node.op_type == "Add" else Affine(scale=right)
            editor.map(merged.name or "", Mapped(mapped, (first.name or "",)))
        return editor.op(node.op_type, [source, merged], like=node.outputs[0])

    return Rewrite.build(node, make, why=f"two constants of {node.op_type} become one")


@fusion("Add", since=13)
def fuse_gemm(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`x @ W + b` of two-dimensional x becomes Gemm; a Gemm without a bias takes b as its own."""
    left, right = node.inputs
    product, bias = producer(left, "MatMul", "Gemm"), right
    if product is None:
        product, bias = producer(right, "MatMul", "Gemm"), left
    if product is None or bias is None or rank(product.inputs[0]) != 2 or rank(product.inputs[1]) != 2:
        return None
    value, dims = product.outputs[0], dims_of(bias)
    if len(product.inputs) > 2 or not is_float(value.dtype) or dims is None or any(dim != 1 for dim in dims[:-1]):
        return None
    if only_reader(value) is not node:
        return Miss(f"bias of {product.op_type}: {readers(value)}", site_of(node))
    if not _broadcasts_to(dims, value):
        return Miss(f"%{bias.name} of shape {bias.shape} does not broadcast to %{value.name} of shape {value.shape}", site_of(node))
    attributes = {name: attribute for name, attribute in product.attributes.items() if name != "beta"}
    return Rewrite.build(
        node,
        lambda editor: editor.op("Gemm", [*product.inputs[:2], bias], attributes, like=node.outputs[0]),
        why="a product and its bias become Gemm",
    )


def _broadcasts_to(dims: Sequence[Dim], value: onnx_ir.Value) -> bool:
    wanted = dims_of(value)
    if wanted is None or len(dims) > len(wanted):
        return False
    return all(dim == 1 or dims_equal(dim, target) for dim, target in zip(reversed(dims), reversed(wanted), strict=False))


@fusion("Gemm", since=13)
def transposed_gemm(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A Transpose before a Gemm becomes its `transA` or `transB`."""
    for index, name in ((0, "transA"), (1, "transB")):
        turned = producer(node.inputs[index], "Transpose")
        if turned is None or turned.inputs[0] is None or rank(turned.inputs[0]) != 2 or ints_attr(turned, "perm", (1, 0)) != (1, 0):
            continue
        source, flipped = turned.inputs[0], 1 - int_attr(node, name, 0)

        def change(editor: Editor, index: int = index, source: onnx_ir.Value = source, name: str = name, flipped: int = flipped) -> None:
            editor.set_input(node, index, source)
            editor.set_attribute(node, name, flipped)

        return Rewrite.edit(site_of(node), f"a Transpose becomes {name}={flipped}", change, anchor=node)
    return None


@fusion("Softmax", "LogSoftmax", since=13, numerics=Exact())
def unflatten_softmax(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Flatten, Softmax over the last axis, Reshape back: the Softmax alone. Softmax before opset 13 is converted to this."""
    before, after = producer(node.inputs[0], "Flatten", "Reshape"), reader(node.outputs[0], "Reshape")
    if before is None or after is None or before.inputs[0] is None:
        return None
    source = before.inputs[0]
    dims, flat = dims_of(source), dims_of(before.outputs[0])
    if not dims or not flat or int_attr(node, "axis", -1) not in (-1, len(flat) - 1):
        return None
    target = producer(after.inputs[1], "Shape")
    undone = target is not None and target.inputs[0] is source and not target.attributes
    if not same(dims[-1], flat[-1]) or not (undone or same_shape(source, after.outputs[0])):
        return None
    return Rewrite.build(
        after, lambda editor: editor.op(node.op_type, [source], {"axis": -1}, like=source), why=f"{node.op_type} needs no flattening"
    )


RULES: tuple[Rule, ...] = (fold_bias, merge_vectors, fuse_gemm, transposed_gemm, unflatten_softmax)
