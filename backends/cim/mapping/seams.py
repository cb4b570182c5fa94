"""Regions that are too large for a tile are cut into several, one behind the other.

Where a region makes rows one after the other up to an operator that needs all of them (a mean over a map, a product of two values), it
ends before that operator: what comes before can go along row by row, over few rows of memory. Where that is not enough, operators that only
move elements are parted from those that compute: these can then be cut along axes that the moves mix.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.mapping.cutting import cut_axes
from netwright.backends.cim.mapping.facts import Facts, facts_of
from netwright.backends.cim.mapping.reaches import ends
from netwright.backends.cim.mapping.regions import Cut, Piece, cut
from netwright.backends.cim.mapping.stages import Stage, stages_of
from netwright.backends.cim.mapping.tasks import ROOM_SHARE, bytes_of
from netwright.ir.program import Program

_MOVES = frozenset({"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Pad", "Expand", "Tile"})


def cut_to_fit(program: Program, arch: Arch) -> tuple[Cut, tuple[Stage, ...], Facts]:
    """A lowered program in steps and stages, and what is known of its tensors: regions cut as far as memories of tiles ask for it."""
    seams: dict[onnx_ir.Node, None] = {}
    while True:
        found = cut(program, seams)
        stages = stages_of(found)
        facts = facts_of(program, found, stages)
        more = [node for piece in found.pieces for node in _seams(piece, facts, arch) if node not in seams]
        if not more:
            return found, stages, facts
        seams |= dict.fromkeys(more)


def _seams(piece: Piece, facts: Facts, arch: Arch) -> Iterator[onnx_ir.Node]:
    """The nodes that a region should end before."""
    room = arch.tile.memory.bytes
    amount = sum(bytes_of(facts.tensors[name]) for name in (*piece.inputs, *piece.outputs))
    streams = all(not reach.whole for reach in facts.reaches[piece.name])
    if piece.why_host or streams or amount * ROOM_SHARE <= room or cut_axes(piece, facts.tensors):
        return
    found = [node for node in ends(piece, facts.streams) if _behind(node, piece)]
    if not found and amount > room:
        found = [node for node in piece.nodes if any(_moves(node) != _moves(maker) for maker in _behind(node, piece))]
    yield from found


def _behind(node: onnx_ir.Node, piece: Piece) -> list[onnx_ir.Node]:
    """The nodes of a region that a node reads, those aside that are brought along (of constants, or widening bytes)."""
    inside = set(piece.nodes)
    found: list[onnx_ir.Node] = []
    for value in node.inputs:
        maker = value.producer() if value is not None else None
        while maker is not None and maker.op_type == "DequantizeLinear" and maker.inputs[0] is not None:
            maker = maker.inputs[0].producer()
        if maker is not None and maker in inside:
            found.append(maker)
    return found


def _moves(node: onnx_ir.Node) -> bool:
    return node.op_type in _MOVES
