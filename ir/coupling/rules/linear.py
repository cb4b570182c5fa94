"""Products with weights and between activations: convolutions, matrix products, Einsum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.coupling.axes import ONE, SPATIAL, Axis, Fixed, Tracked
from netwright.ir.coupling.rules.table import NoRule, given, needed, resting, rule, where
from netwright.ir.coupling.walk import dims_of
from netwright.ir.opinfo import int_attr

if TYPE_CHECKING:
    from netwright.ir.coupling.walk import Walk


@rule("Conv", "ConvTranspose")
def convolution(walk: Walk, node: onnx_ir.Node) -> None:
    """Channels in are the weight's second axis, channels out its first (the other way round where transposed).

    With groups, units lie either along the groups (always so where each has one channel in) or inside them, in all groups alike.
    """
    x, weight = needed(node), needed(node, 1)
    data, kernel = walk.axes(x, node), list(walk.axes(weight, node))
    groups = int_attr(node, "group", 1)
    turned = node.op_type == "ConvTranspose"
    inner, outer = (0, 1) if turned else (1, 0)
    walk.freeze(kernel[2:], "the kernel's size is fixed")
    if _is_fourier(dims_of(weight)) and not turned:
        walk.freeze(
            kernel[0], f"{where(node)} looks like a Fourier transform: {dims_of(weight)[0]} filters of {dims_of(weight)[2]} samples"
        )
    walk.use(weight, inner, "in", node)
    if groups == 1:
        walk.join((data[1], kernel[inner]))
        channels = kernel[outer]
    else:
        channels = _grouped(walk, node, data[1], kernel, groups, turned=turned)
    walk.use(weight, outer, "out", node)
    walk.make(kernel[outer], node)
    walk.mark(kernel[outer], "convolved")
    if groups == 1:
        walk.work(node, kernel[inner])
    walk.work(node, channels)
    bias = given(node, 2)
    if bias is not None:
        walk.join((channels, walk.axes(bias, node)[0]))
        walk.use(bias, 0, "shift", node)
    walk.set(node.outputs[0], (data[0], channels, *(SPATIAL for _ in dims_of(node.outputs[0])[2:])))


def _is_fourier(dims: tuple[object, ...]) -> bool:
    """One channel in, k samples, and k/2 + 1 frequencies, each with a real and an imaginary filter."""
    return len(dims) == 3 and dims[1] == 1 and isinstance(dims[2], int) and dims[2] >= 32 and dims[0] == 2 * (dims[2] // 2 + 1)


def _grouped(walk: Walk, node: onnx_ir.Node, data: Axis, kernel: list[Axis], groups: int, *, turned: bool) -> Axis:
    """Tie the channels of a grouped convolution; returns those that come out."""
    channels_in, channels_out = kernel[0 if turned else 1], kernel[1 if turned else 0]
    reason = f"{where(node)} has {groups} groups"
    if not isinstance(data, Tracked) or not data.plain:
        walk.freeze((data, channels_in, channels_out), data.why if isinstance(data, Fixed) else reason)
        return Fixed(reason)
    first = data.labels.reshape(groups, -1)
    if turned:
        walk.freeze((data, channels_in, channels_out), f"{reason} and is transposed")
        return Fixed(f"{reason} and is transposed")
    rows = channels_out.labels.reshape(groups, -1) if isinstance(channels_out, Tracked) else None
    if rows is None:
        walk.freeze((data, channels_in), reason)
        return Fixed(reason)
    if walk.mode == "outer" or first.shape[1] == 1:
        walk.units.tie(first, first[:, :1])
        walk.units.tie(rows, first[:, :1])
        walk.freeze(channels_in, f"{reason}, of which whole ones go")
        return channels_out
    walk.units.tie(first, first[:1])
    if isinstance(channels_in, Tracked):
        walk.units.tie(first[0], channels_in.labels)
    if rows.shape[1] == 1:
        walk.freeze(channels_out, f"{reason}, of one channel out each")
    walk.units.tie(rows, rows[:1])
    return channels_out


@rule("MatMul")
def matmul(walk: Walk, node: onnx_ir.Node) -> None:
    """[…, m, k] · […, k, n]; vectors stand for one row or column."""
    a, b = needed(node), needed(node, 1)
    product(walk, node, a, b, list(walk.axes(a, node)), list(walk.axes(b, node)))


def product(walk: Walk, node: onnx_ir.Node, a: onnx_ir.Value, b: onnx_ir.Value, left: list[Axis], right: list[Axis]) -> None:
    """Tie the axes of a matrix product, and set those of the node's first output."""
    rank = max(len(left), len(right))
    row: Axis | None = left[-2] if len(left) > 1 else None
    column: Axis | None = right[-1] if len(right) > 1 else None
    depth = (left[-1], right[-2] if len(right) > 1 else right[-1])
    walk.join(depth)
    walk.use(a, len(left) - 1, "in", node)
    walk.use(b, max(len(right) - 2, 0), "in", node)
    both = not walk.is_weight(a) and not walk.is_weight(b)
    for value, axis, place in ((a, row, len(left) - 2), (b, column, len(right) - 1)):
        if axis is not None and walk.is_weight(value):
            walk.use(value, place, "out", node)
            walk.make(axis, node)
    batch = [_batch(walk, node, a, b, left, right, rank, index) for index in range(rank - 2)]
    for axis in (*batch, *depth[:1], *((row,) if row else ()), *((column,) if column else ())):
        walk.work(node, axis)
    if both:
        for axis in batch:
            walk.mark(axis, "heads")
        for axis in (*depth, column):
            walk.mark(axis or ONE, "head_dim")
    walk.set(node.outputs[0], [*batch, *((row,) if row is not None else ()), *((column,) if column is not None else ())])


def _batch(
    walk: Walk, node: onnx_ir.Node, a: onnx_ir.Value, b: onnx_ir.Value, left: list[Axis], right: list[Axis], rank: int, index: int
) -> Axis:
    """One axis in front of the matrices: as in any broadcast. A weight along it makes units where it alone has them."""
    columns: list[tuple[Axis, onnx_ir.Value, int]] = []
    for value, axes in ((a, left), (b, right)):
        place = index - (rank - len(axes))
        if place >= 0 and axes[place] is not ONE:
            columns.append((axes[place], value, place))
    for axis, value, place in columns:
        if walk.is_weight(value) and isinstance(axis, Tracked):
            walk.use(value, place, "out" if len(columns) == 1 else "scale", node)
            walk.mark(axis, "experts")
            if len(columns) == 1:
                walk.make(axis, node)
    ordered = sorted(columns, key=lambda entry: walk.is_weight(entry[1]))
    return walk.join(axis for axis, _, _ in ordered)


@rule("Gemm")
def gemm(walk: Walk, node: onnx_ir.Node) -> None:
    """A matrix product with transposed operands on demand, and a bias."""
    a, b, bias = node.inputs[0], node.inputs[1], given(node, 2)
    if a is None or b is None:
        raise NoRule("an input is left out")
    left, right = walk.axes(a, node), walk.axes(b, node)
    at, bt = int_attr(node, "transA", 0), int_attr(node, "transB", 0)
    walk.join((left[0 if at else 1], right[1 if bt else 0]))
    walk.use(a, 0 if at else 1, "in", node)
    walk.use(b, 1 if bt else 0, "in", node)
    row, column = left[1 if at else 0], right[0 if bt else 1]
    walk.use(a, 1 if at else 0, "out", node)
    walk.use(b, 0 if bt else 1, "out", node)
    for value, axis in ((a, row), (b, column)):
        if walk.is_weight(value):
            walk.make(axis, node)
    walk.work(node, row, column, right[1 if bt else 0])
    if bias is not None:
        added = walk.axes(bias, node)
        for offset, (axis, mine) in enumerate(zip(reversed((row, column)), reversed(added), strict=False)):
            if mine is not ONE:
                walk.join((axis, mine))
                walk.use(bias, len(added) - 1 - offset, "shift", node)
    walk.set(node.outputs[0], (row, column))


@rule("Einsum")
def einsum(walk: Walk, node: onnx_ir.Node) -> None:
    """Axes of one letter are one; a letter that is summed over is a contraction."""
    text = node.attributes["equation"].as_string().replace(" ", "") if "equation" in node.attributes else ""
    if "->" not in text or "." in text:
        raise NoRule("an equation without -> or with an ellipsis")
    sources, _, result = text.partition("->")
    letters: dict[str, list[tuple[Axis, onnx_ir.Value, int]]] = {}
    for term, value in zip(sources.split(","), node.inputs, strict=False):
        if value is None or len(term) != len(dims_of(value)):
            raise NoRule("its terms do not fit its inputs")
        for index, letter in enumerate(term):
            letters.setdefault(letter, []).append((walk.axes(value, node)[index], value, index))
    both = sum(not walk.is_weight(value) for value in node.inputs) > 1
    joined: dict[str, Axis] = {}
    for letter, entries in letters.items():
        real = [entry for entry in entries if entry[0] is not ONE]
        joined[letter] = walk.join(axis for axis, _, _ in sorted(real, key=lambda entry: walk.is_weight(entry[1])))
        for axis, value, index in real:
            alone = len(real) == 1
            walk.use(value, index, "in" if letter not in result else "out" if alone else "scale", node)
            if alone and walk.is_weight(value) and letter in result:
                walk.make(axis, node)
        if both and letter in result and len(real) > 1:
            walk.mark(joined[letter], "heads")
        elif both:
            walk.mark(joined[letter], "head_dim")
        walk.work(node, joined[letter])
    walk.set(node.outputs[0], [joined.get(letter, resting(1)) for letter in result])
