"""Reshapes: axes are cut into factors and merged from them.

Both shapes are cut into the same atoms, from the right, symbolic dimensions included. An axis that is cut has its units along one of
its factors (which one, `Mode` says); an axis that is merged has the units of one of its factors, repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.coupling.axes import ONE, Axis, Fixed, Tracked, around
from netwright.ir.coupling.rules.table import NoRule, given, integers, needed, resting, rule, where
from netwright.ir.coupling.walk import dims_of
from netwright.ir.dims import Dim, dims_equal, divide_exactly, is_known, multiply, product
from netwright.ir.opinfo import ints_attr, site

if TYPE_CHECKING:
    from netwright.ir.coupling.walk import Walk


@rule("Squeeze", "Unsqueeze")
def squeeze(walk: Walk, node: onnx_ir.Node) -> None:
    """Axes of size 1 come and go."""
    x = needed(node)
    axes, rank = list(walk.axes(x, node)), len(dims_of(node.outputs[0]))
    places = ints_attr(node, "axes") or integers(given(node, 1))
    if node.op_type == "Unsqueeze":
        if places is None:
            raise NoRule("its axes are computed")
        new = {place % rank for place in places}
        rest = iter(axes)
        walk.set(node.outputs[0], [ONE if index in new else next(rest) for index in range(rank)])
        return
    dims = dims_of(x)
    gone = {index for index, dim in enumerate(dims) if dim == 1} if places is None else {place % len(axes) for place in places}
    walk.set(node.outputs[0], [axis for index, axis in enumerate(axes) if index not in gone])


@rule("Reshape", "Flatten")
def reshape(walk: Walk, node: onnx_ir.Node) -> None:
    """Cut and merge."""
    x = needed(node)
    axes, old, new = walk.axes(x, node), dims_of(x), dims_of(node.outputs[0])
    if not any(isinstance(axis, Tracked) for axis in axes):
        fixed = next((axis for axis in axes if axis is not ONE), None)
        walk.set(node.outputs[0], [ONE if dim == 1 else fixed or resting(dim) for dim in new])
        return
    try:
        blocks = align(old, new)
    except ValueError:  # a dimension's name is no expression: nothing can be told of its products
        blocks = None
    if blocks is None:
        reason = f"{where(node)} rearranges sizes that cannot be told apart"
        walk.freeze(axes, reason)
        walk.set(node.outputs[0], [ONE if dim == 1 else Fixed(reason) for dim in new])
        return
    found: list[Axis] = [resting(dim) for dim in new]
    for block in blocks:
        for place, axis in zip(block.new, _through(walk, node, block, axes, old, new), strict=True):
            found[place] = axis
    walk.set(node.outputs[0], found)


@dataclass(frozen=True, slots=True)
class Block:
    """Axes that become other axes, with as many elements; `cuts` are the common factors, None where there are none."""

    old: tuple[int, ...]
    new: tuple[int, ...]


def align(old: Sequence[Dim], new: Sequence[Dim]) -> list[Block]:
    """The smallest runs of axes on both sides with provably as many elements."""
    blocks: list[Block] = []
    first, last_old, last_new = 0, len(old), len(new)
    while first < min(last_old, last_new) and _equal(old[first], new[first]):
        blocks.append(Block((first,), (first,)))
        first += 1
    tail: list[Block] = []
    while last_old > first and last_new > first and _equal(old[last_old - 1], new[last_new - 1]):
        last_old, last_new = last_old - 1, last_new - 1
        tail.append(Block((last_old,), (last_new,)))
    return [*blocks, *_align_middle(old, new, first, last_old, last_new), *reversed(tail)]


def _align_middle(old: Sequence[Dim], new: Sequence[Dim], first: int, last_old: int, last_new: int) -> list[Block]:
    blocks: list[Block] = []
    i, j = first, first
    while i < last_old or j < last_new:
        start_i, start_j = i, j
        a: Dim = old[i] if i < last_old else 1
        b: Dim = new[j] if j < last_new else 1
        i, j = min(i + 1, last_old), min(j + 1, last_new)
        while not _equal(a, b):
            grow_old = _smaller(a, b)
            if (grow_old is not False and i < last_old) or (j >= last_new and i < last_old):
                a, i = multiply(a, old[i]), i + 1
            elif j < last_new:
                b, j = multiply(b, new[j]), j + 1
            else:
                # As many elements in all, and as many before and behind: the rest is as much too, whatever its sizes.
                return [*blocks, Block(tuple(range(start_i, last_old)), tuple(range(start_j, last_new)))]
        blocks.append(Block(tuple(range(start_i, i)), tuple(range(start_j, j))))
    return blocks


def _equal(a: Dim, b: Dim) -> bool:
    return (a == b if isinstance(a, int) and isinstance(b, int) else False) or dims_equal(a, b)


def _smaller(a: Dim, b: Dim) -> bool | None:
    """Whether a is the one to grow; None where that cannot be told from the numbers."""
    if isinstance(a, int) and isinstance(b, int):
        return a < b
    quotient = divide_exactly(b, a)
    if is_known(quotient):
        return True
    return False if is_known(divide_exactly(a, b)) else None


def _through(walk: Walk, node: onnx_ir.Node, block: Block, axes: Sequence[Axis], old: Sequence[Dim], new: Sequence[Dim]) -> list[Axis]:
    """The new axes of a block."""
    if len(block.old) == 1 and len(block.new) == 1:
        return [axes[block.old[0]]]
    mine = [axes[place] for place in block.old]
    if not any(isinstance(axis, Tracked) for axis in mine):
        fixed = next((axis for axis in mine if axis is not ONE), Fixed(f"{where(node)} makes it"))
        return [ONE if new[place] == 1 else fixed for place in block.new]
    atoms = common_factors([old[place] for place in block.old], [new[place] for place in block.new])
    if atoms is None:
        reason = f"{where(node)} cuts across {'×'.join(str(old[place]) for place in block.old)}"
        walk.freeze(mine, reason)
        return [ONE if new[place] == 1 else Fixed(reason) for place in block.new]
    left, right = atoms
    pieces: list[Axis] = []
    for place, sizes in zip(block.old, left, strict=True):
        pieces.extend(_cut(walk, node, place, axes[place], sizes))
    found: list[Axis] = []
    at = 0
    for sizes in right:
        found.append(_merge(walk, node, pieces[at : at + len(sizes)], sizes))
        at += len(sizes)
    return found


def common_factors(old: Sequence[Dim], new: Sequence[Dim]) -> tuple[list[list[Dim]], list[list[Dim]]] | None:
    """Both lists cut into the same factors, in order; None where they straddle."""
    left: list[list[Dim]] = [[] for _ in old]
    right: list[list[Dim]] = [[] for _ in new]
    i, j = 0, 0
    a: Dim = old[0] if old else 1
    b: Dim = new[0] if new else 1
    while i < len(old) and j < len(new):
        factor = _common(a, b)
        if factor is None:
            return None
        a, b = divide_exactly(a, factor), divide_exactly(b, factor)
        if not is_known(a) or not is_known(b):
            return None
        if factor != 1:
            left[i].append(factor)
            right[j].append(factor)
        while i < len(old) and a == 1:
            i += 1
            a = old[i] if i < len(old) else 0
        while j < len(new) and b == 1:
            j += 1
            b = new[j] if j < len(new) else 0
    return (left, right) if i == len(old) and j == len(new) else None


def _common(a: Dim, b: Dim) -> Dim | None:
    """The next factor, read from the left: the smaller of two where it divides the larger."""
    if _equal(a, b):
        return a
    if is_known(divide_exactly(b, a)):
        return a
    if is_known(divide_exactly(a, b)):
        return b
    return None


def _cut(walk: Walk, node: onnx_ir.Node, place: int, axis: Axis, sizes: Sequence[Dim]) -> list[Axis]:
    """The factors of one old axis: units lie along one of them."""
    if len(sizes) <= 1:
        return [axis] * len(sizes)
    if not isinstance(axis, Tracked):
        return [axis] * len(sizes)
    reason = f"{where(node)} cuts it as {'×'.join(map(str, sizes))}"
    if not axis.plain:
        return _cut_merged(walk, axis, sizes, reason)
    candidates = [index for index, size in enumerate(sizes) if isinstance(size, int) and size > 1]
    if len(candidates) < len(sizes):
        walk.freeze(axis, reason)
        return [Fixed(reason)] * len(sizes)
    allowed = [index for index in candidates if (site(node), place * 8 + index) not in walk.banned] or candidates
    active = allowed[0] if walk.mode == "outer" else allowed[-1]
    integers = [size for size in sizes if isinstance(size, int)]
    table = np.moveaxis(axis.labels.reshape(integers), active, 0).reshape(integers[active], -1)
    walk.units.tie(table, table[:, :1])
    labels = table[:, 0]
    walk.cuts.setdefault(int(labels[0]), (site(node), place * 8 + active))
    return [Tracked(labels) if index == active else Fixed(f"{reason}, and units lie along another factor") for index in range(len(sizes))]


def _cut_merged(walk: Walk, axis: Tracked, sizes: Sequence[Dim], reason: str) -> list[Axis]:
    """An axis that a reshape has merged from others of unknown size comes apart again."""
    for index, size in enumerate(sizes):
        if size == len(axis.labels) and _equal(product(sizes[:index]), axis.outer) and _equal(product(sizes[index + 1 :]), axis.inner):
            return [Tracked(axis.labels) if place == index else Fixed(reason) for place in range(len(sizes))]
    walk.freeze(axis, reason)
    return [Fixed(reason)] * len(sizes)


def _merge(walk: Walk, node: onnx_ir.Node, pieces: Sequence[Axis], sizes: Sequence[Dim]) -> Axis:
    """One new axis of several factors: with the units of one, which the others repeat."""
    if not sizes:
        return ONE
    if len(pieces) == 1:
        return pieces[0]
    tracked = [index for index, piece in enumerate(pieces) if isinstance(piece, Tracked)]
    reason = f"{where(node)} merges it with other axes"
    if not tracked:
        return next((piece for piece in pieces if piece is not ONE), Fixed(reason))
    strong = [index for index in tracked if not getattr(pieces[index], "weak", False)] or tracked
    active = strong[0] if walk.mode == "outer" else strong[-1]
    for index in tracked:
        if index != active:
            walk.freeze(pieces[index], f"{reason}, along which units lie")
    piece = pieces[active]
    if not isinstance(piece, Tracked):
        return Fixed(reason)
    outer, inner = multiply(product(sizes[:active]), piece.outer), multiply(piece.inner, product(sizes[active + 1 :]))
    if not is_known(outer) or not is_known(inner):
        walk.freeze(piece, reason)
        return Fixed(reason)
    return around(piece.labels, outer, inner)
