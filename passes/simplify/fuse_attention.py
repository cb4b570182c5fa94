"""Scaled dot-product attention, spelt out, becomes Attention; splitting into heads, and repeating them, becomes part of it."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir

from netwright.ir.editor import AttributeValue, Editor
from netwright.ir.opinfo import int_attr, ints_attr, is_float
from netwright.ir.program import Program
from netwright.ir.shapes import rank
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Rule
from netwright.passes.simplify.match import (
    dims_of,
    escaping,
    fusion,
    only_reader,
    other_input,
    producer,
    read_elsewhere,
    reader,
    readers,
    scaled_by,
)
from netwright.passes.simplify.match_heads import Split, joined_heads, repeated_heads, same, split_heads

_SINCE = 23


@dataclass(frozen=True, slots=True)
class _Key:
    """The key as Attention wants it, `[B, H, S, D]`: a value, or one to be transposed by `perm` first."""

    source: onnx_ir.Value
    perm: tuple[int, ...] | None
    node: onnx_ir.Node


@fusion("Softmax", since=_SINCE)
def fuse_attention(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`softmax(q kᵀ · s + mask) v` on `[B, H, S, D]` becomes Attention (opset 23)."""
    scores = node.inputs[0]
    root = reader(node.outputs[0], "MatMul")
    if root is None or root.inputs[0] is not node.outputs[0] or scores is None or rank(scores) != 4:
        return None
    if int_attr(node, "axis", -1) not in (-1, 3) or not is_float(scores.dtype):
        return None
    inner = [node]
    masked, mask = producer(scores, "Add"), None
    if masked is not None:
        plain = next((value for value in masked.inputs if _product_of(value) is not None), None)
        mask = other_input(masked, plain) if plain is not None else None
        if plain is None or mask is None:
            return None
        inner.append(masked)
        scores = plain
    found = _product_of(scores)
    if found is None:
        return None
    product, factor, between = found
    inner += [product, *between]
    query, left = _unscaled(product.inputs[0], inner)
    turned, right = _unscaled(product.inputs[1], inner)
    value = root.inputs[1]
    if query is None or turned is None or value is None or any(rank(one) != 4 for one in (query, turned, value)):
        return None
    key = _transposed(turned)
    if key is None:
        return Miss(f"attention: its key %{turned.name} is not transposed by a Transpose", site_of(root))
    scale = factor * left * right
    reason = _wrong_operands(query, turned, value) or _wrong_mask(mask, product.outputs[0])
    if not reason and not scale > 0.0:
        reason = f"its scale is {scale:g}"
    if reason:
        return Miss(f"attention: {reason}", site_of(root))
    outside = escaping(inner, root)
    if outside is not None:
        return read_elsewhere(outside, root, "attention")

    def make(editor: Editor) -> onnx_ir.Value:
        keys = (
            key.source
            if key.perm is None
            else editor.op("Transpose", [key.source], {"perm": key.perm}, name=key.node.outputs[0].name or "")
        )
        inputs = [query, keys, value] if mask is None else [query, keys, value, mask]
        return editor.op("Attention", inputs, {"scale": scale}, like=root.outputs[0])

    return Rewrite.build(root, make, why="scaled dot-product attention")


def _product_of(value: onnx_ir.Value | None) -> tuple[onnx_ir.Node, float, tuple[onnx_ir.Node, ...]] | None:
    """The MatMul that makes a value, perhaps times a number: the MatMul, the number, what lies between."""
    product = producer(value, "MatMul")
    if product is not None:
        return product, 1.0, ()
    scaled = scaled_by(value)
    product = producer(scaled[0], "MatMul") if scaled is not None else None
    node = value.producer() if value is not None else None
    return None if scaled is None or product is None or node is None else (product, scaled[1], (node,))


def _unscaled(value: onnx_ir.Value | None, inner: list[onnx_ir.Node]) -> tuple[onnx_ir.Value | None, float]:
    """A value without the number it is multiplied by, if only this product reads it."""
    scaled = scaled_by(value)
    node = value.producer() if value is not None else None
    if scaled is None or node is None or value is None or only_reader(value) is None:
        return value, 1.0
    inner.append(node)
    return scaled


def _transposed(value: onnx_ir.Value) -> _Key | None:
    node = producer(value, "Transpose")
    if node is None or node.inputs[0] is None:
        return None
    perm = ints_attr(node, "perm")
    if len(perm) != 4:
        return None
    undone = (perm[0], perm[1], perm[3], perm[2])
    return _Key(node.inputs[0], None if undone == (0, 1, 2, 3) else undone, node)


def _wrong_operands(query: onnx_ir.Value, turned: onnx_ir.Value, value: onnx_ir.Value) -> str:
    """Why Attention cannot take these operands, of which a MatMul would broadcast batch and heads."""
    shapes = [dims_of(one) or () for one in (query, turned, value)]
    for axis, name in ((0, "batch"), (1, "heads")):
        if not all(len(dims) == 4 and same(dims[axis], shapes[0][axis]) for dims in shapes):
            return f"the {name} of query %{query.name}, key %{turned.name} and value %{value.name} may differ"
    return ""


def _wrong_mask(mask: onnx_ir.Value | None, scores: onnx_ir.Value) -> str:
    """Why a mask cannot be given to Attention, whose last two dimensions must be those of the scores (ORT 1.31 checks it)."""
    if mask is None:
        return ""
    dims, wanted = dims_of(mask), dims_of(scores)
    if dims is None or wanted is None or not 2 <= len(dims) <= 4:
        return f"the mask %{mask.name} of shape {mask.shape} is not of rank 2 to 4"
    if mask.dtype != scores.dtype:
        return f"the mask %{mask.name} is of type {mask.dtype}, the scores of {scores.dtype}"
    if not (same(dims[-1], wanted[-1]) and same(dims[-2], wanted[-2])):
        return f"the mask %{mask.name} of shape {mask.shape} may broadcast along the scores' rows or columns, {scores.shape}"
    lead = zip(reversed(dims[:-2]), reversed(wanted[:-2]), strict=False)
    if not all(dim == 1 or same(dim, target) for dim, target in lead):
        return f"the mask %{mask.name} of shape {mask.shape} is not one for each of the scores, {scores.shape}"
    return ""


# ---- around the operator ------------------------------------------------------------------------------------------


def _plain(node: onnx_ir.Node) -> bool:
    """Whether an Attention has neither a cache nor more than one output."""
    return len(node.outputs) == 1 and len(node.inputs) >= 3 and not any(value is not None for value in node.inputs[4:])


@fusion("Attention", since=_SINCE)
def group_heads(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """Keys and values repeated for groups of query heads are given to Attention as they were."""
    if not _plain(node) or rank(node.inputs[0]) != 4:
        return None
    key, value = repeated_heads(node.inputs[1]), repeated_heads(node.inputs[2])
    if key is None or value is None:
        return None
    if key.times != value.times:
        return Miss(f"key heads are repeated {key.times} times, value heads {value.times} times", site_of(node))

    def change(editor: Editor) -> None:
        editor.set_input(node, 1, key.source)
        editor.set_input(node, 2, value.source)

    return Rewrite.edit(site_of(node), f"each key and value head serves {key.times} query heads", change, anchor=node)


@dataclass(frozen=True, slots=True)
class _Projected:
    """An input of Attention before it is split into heads, with the RotaryEmbedding in between, if there is one."""

    split: Split
    rotary: onnx_ir.Node | None


def _projected(value: onnx_ir.Value | None) -> _Projected | None:
    rotary = producer(value, "RotaryEmbedding")
    if rotary is None or value is None:
        split = split_heads(value)
        return None if split is None else _Projected(split, None)
    split = split_heads(rotary.inputs[0])
    if split is None or only_reader(value) is None or int_attr(rotary, "num_heads", 0) not in (0, split.heads):
        return None
    return _Projected(split, rotary)


@fusion("Attention", "Reshape", since=_SINCE)
def absorb_heads(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """Attention on `[B, S, H·D]` splits into heads and joins them itself: four Transposes and four Reshapes less."""
    if node.op_type == "Reshape":  # joining may become plain after Attention was looked at
        turned = producer(node.inputs[0], "Transpose")
        attention = producer(turned.inputs[0], "Attention") if turned is not None else None
        found = absorb_heads.match(attention, program) if attention is not None else None
        return found if isinstance(found, Rewrite) else None
    if not _plain(node) or rank(node.inputs[0]) != 4:
        return None
    joined = joined_heads(node.outputs[0])
    parts = [_projected(value) for value in node.inputs[:3]]
    query, key, value = parts
    if joined is None or query is None or key is None or value is None:
        missing = [name for name, part in zip(("query", "key", "value"), parts, strict=True) if part is None]
        found = ", ".join(missing) + " not split" if missing else f"the result not joined ({readers(node.outputs[0])})"
        return Miss(f"heads stay outside Attention: {found} by Reshape and Transpose", site_of(node))
    if key.split.heads != value.split.heads or query.split.heads % key.split.heads:
        return Miss(f"{query.split.heads} query, {key.split.heads} key and {value.split.heads} value heads do not fit", site_of(node))
    attributes: dict[str, AttributeValue | None] = dict(node.attributes)
    attributes |= {"q_num_heads": query.split.heads, "kv_num_heads": key.split.heads}
    if "scale" not in node.attributes:
        attributes["scale"] = float(query.split.size) ** -0.5

    def make(editor: Editor) -> onnx_ir.Value:
        inputs = [_flat(editor, part) for part in (query, key, value)]
        return editor.op("Attention", [*inputs, *node.inputs[3:]], attributes, like=joined.outputs[0])

    return Rewrite.build(joined, make, why=f"{query.split.heads} heads of {query.split.size} split and joined inside Attention")


def _flat(editor: Editor, part: _Projected) -> onnx_ir.Value:
    if part.rotary is None:
        return part.split.source
    attributes: dict[str, AttributeValue | None] = dict(part.rotary.attributes)
    attributes["num_heads"] = part.split.heads
    return editor.op(
        "RotaryEmbedding",
        [part.split.source, *part.rotary.inputs[1:]],
        attributes,
        like=part.split.source,
        name=part.rotary.outputs[0].name or "",
    )


RULES: tuple[Rule, ...] = (fuse_attention, group_heads, absorb_heads)
