"""How regions stream: which rows of their inputs a row of their results needs, and the axis that these are made along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import onnx_ir

from netwright.backends.cim.mapping.carrying import Axes, elementwise
from netwright.backends.cim.mapping.regions import Piece
from netwright.backends.cim.mapping.tracks import FOLLOW, follow, window
from netwright.backends.cim.program.model import Reach
from netwright.ir.shapes import static_shape

WHOLE = Reach(0, whole=True)
"""Every row needs everything."""


@dataclass(slots=True)
class _Track:
    """A value within a region: its axis of rows (None: all at once), and what a row of it needs of each input."""

    axis: int | None = None
    needs: dict[str, Reach] = field(default_factory=dict[str, Reach])


def flow(piece: Piece, stream: Callable[[str], int]) -> tuple[tuple[Reach, ...], dict[str, int]]:
    """How a region streams.

    Args:
        piece: the region.
        stream: the axis that each of its inputs is made along; −1 for none.

    Returns:
        For each input what a row of the results needs, and the axis of rows of each output (−1 for all at once).
    """
    tracks = _begun(piece, stream)
    for node in piece.nodes:
        _step(node, tracks)
    ends = [tracks[name] for name in piece.outputs]
    axes = {name: -1 if end.axis is None else end.axis for name, end in zip(piece.outputs, ends, strict=True)}
    if any(axis < 0 for axis in axes.values()) or not axes:
        return tuple(WHOLE for _ in piece.inputs), dict.fromkeys(piece.outputs, -1)
    return tuple(_widest([end.needs[name] for end in ends if name in end.needs]) for name in piece.inputs), axes


def ends(piece: Piece, stream: Callable[[str], int]) -> Iterator[onnx_ir.Node]:
    """The nodes of a region that read something made row by row and need all of it at once."""
    tracks = _begun(piece, stream)
    for node in piece.nodes:
        _step(node, tracks)
        given = [tracks.get(value.name or "") if value is not None else None for value in node.inputs]
        if any(track is not None and track.axis is not None for track in given) and all(
            tracks[v.name or ""].axis is None for v in node.outputs
        ):
            yield node


def input_axis(value: onnx_ir.Value, pieces: Sequence[Piece]) -> int:
    """The axis along which an input of the program is best read row by row: the first that all regions that read it carry through."""
    shape = static_shape(value)
    name = value.name or ""
    readers = [piece for piece in pieces if name in piece.inputs]
    if shape is None:
        return -1
    order = (2, 1) if readers and len(shape) == 4 else range(1, len(shape) - (not readers))
    for axis in order:
        if shape[axis] > 1 and all(not _one(piece, name, axis).whole for piece in readers):
            return axis
    return -1


def _one(piece: Piece, name: str, axis: int) -> Reach:
    reaches, _ = flow(piece, lambda other: axis if other == name else -1)
    return reaches[piece.inputs.index(name)]


def _begun(piece: Piece, stream: Callable[[str], int]) -> dict[str, _Track]:
    axes = {name: stream(name) for name in piece.inputs}
    return {name: _Track(axis if axis >= 0 else None, {name: Reach() if axis >= 0 else WHOLE}) for name, axis in axes.items()}


def _step(node: onnx_ir.Node, tracks: dict[str, _Track]) -> None:
    given = [tracks.get(value.name or "") if value is not None else None for value in node.inputs]
    axes = tuple(None if track is None else track.axis for track in given)
    needs: dict[str, Reach] = {}
    made = (follow(node, axes) or follow(node, _with_constants(node, axes, given))) if any(axis is not None for axis in axes) else None
    if made is not None:
        for track in given:
            for name, reach in (track.needs if track is not None else {}).items():
                needs[name] = _widest([needs[name], reach]) if name in needs else reach
        for value, axis in zip(node.outputs, made, strict=True):
            tracks[value.name or ""] = _Track(axis, needs)
        return
    first = axes[0] if axes else None
    step = window(node, first) if first is not None and all(axis is None for axis in axes[1:]) else None
    for place, track in enumerate(given):
        for name, reach in (track.needs if track is not None else {}).items():
            found = step.after(reach) if step is not None and place == 0 else WHOLE
            needs[name] = _widest([needs[name], found]) if name in needs else found
    for value in node.outputs:
        tracks[value.name or ""] = _Track(first if step is not None else None, needs)


def _with_constants(node: onnx_ir.Node, axes: Axes, given: Sequence[_Track | None]) -> Axes:
    """What does not depend on a region's inputs has, for elementwise operators, a row for each of the others' rows, too."""
    rank = len(static_shape(node.outputs[0]) or ())
    places = {rank - len(static_shape(value) or ()) + axis for value, axis in zip(node.inputs, axes, strict=True) if axis is not None}
    if FOLLOW.get(node.op_type) is not elementwise or len(places) != 1:
        return axes
    (place,) = places
    own = (place - rank + len(static_shape(value) or ()) for value in node.inputs)
    return tuple(
        here if axis is None and here >= 0 and (track is None or not track.needs) and (static_shape(value) or ())[here] > 1 else axis
        for value, axis, here, track in zip(node.inputs, axes, own, given, strict=True)
    )


def _widest(reaches: Sequence[Reach]) -> Reach:
    """What several need together."""
    if not reaches or any(one.whole for one in reaches) or len({one.stride for one in reaches}) > 1:
        return WHOLE
    return Reach(reaches[0].stride, max(one.last for one in reaches), min(one.first for one in reaches))
