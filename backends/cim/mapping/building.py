"""From a lowered program to the chip's."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.mapping.boxes import whole
from netwright.backends.cim.mapping.facts import facts_of
from netwright.backends.cim.mapping.memory import lay_out
from netwright.backends.cim.mapping.pieces import BATCH
from netwright.backends.cim.mapping.planning import Planner
from netwright.backends.cim.mapping.regions import Piece, cut
from netwright.backends.cim.mapping.stages import stages_of
from netwright.backends.cim.mapping.tasks import Part
from netwright.backends.cim.mapping.weaving import weave
from netwright.backends.cim.program.model import HOST, ChipProgram, Instruction, Options, Reach, Region, Tensor, Vector
from netwright.ir.program import Program
from netwright.ir.signature import Port, port


def build(program: Program, arch: Arch, options: Options = Options(), *, name: str) -> ChipProgram:  # noqa: B008
    """Map a lowered program to a chip.

    Args:
        program: lowered: static shapes (the batch 1), products as `CrossbarMatMul`; left as it is.
        arch: the chip.
        options: of the mapping; values do not depend on them.
        name: of the model.

    Raises:
        UnsupportedModelError: the chip cannot hold it, with the sizes.
    """
    pieces = cut(program)
    stages = stages_of(pieces)
    facts = facts_of(program, pieces, stages)
    planner = Planner(arch, facts, {})
    for stage in stages:
        planner.add(stage)
    plan = planner.plan
    inputs = tuple(Part(value.name or "", whole(facts.tensors[value.name or ""].shape)) for value in program.inputs)
    outputs = tuple(Part(value.name or "", whole(facts.tensors[value.name or ""].shape)) for value in program.outputs)
    woven = weave(plan.tasks, inputs, outputs)
    laid = lay_out(woven, facts.tensors, arch)
    tiles: dict[int, list[Instruction]] = {}
    for task in woven.tasks:
        sources = tuple(laid.numbers[HOST if part.host else task.tile, part.tensor] for part in task.reads)
        targets = tuple(laid.numbers[HOST if part.host else task.tile, part.tensor] for part in task.writes)
        tiles.setdefault(task.tile, []).append(task.make(sources, targets))
    host = tuple(one for one in tiles.pop(HOST, []) if isinstance(one, Vector))
    return ChipProgram(
        name=name,
        arch=arch,
        options=options,
        inputs=tuple(_port(value, facts.tensors) for value in program.inputs),
        outputs=tuple(_port(value, facts.tensors) for value in program.outputs),
        tensors=laid.tensors,
        buffers=laid.buffers,
        matrices=tuple(plan.matrices),
        units=tuple(plan.units),
        regions=tuple(_region(piece, facts.reaches[piece.name]) for piece in plan.pieces),
        scalings=tuple(plan.scalings),
        tiles={tile: tuple(tiles[tile]) for tile in sorted(tiles)},
        host=host,
        notes=(*plan.notes, *(f"{piece.name} runs on the host: {piece.why_host}." for piece in plan.pieces if piece.why_host)),
    )


def _port(value: onnx_ir.Value, tensors: dict[str, Tensor]) -> Port:
    found = port(value)
    tensor = tensors[found.name]
    shape = tuple(BATCH if axis == tensor.batch_axis == 0 else size for axis, size in enumerate(tensor.shape))
    return replace(found, shape=shape)


def _region(piece: Piece, reaches: tuple[Reach, ...]) -> Region:
    data = onnx_ir.to_proto(piece.program.model).SerializeToString()
    return Region(piece.name, data, piece.inputs, piece.outputs, piece.batchable, piece.work, piece.why_host, reaches)
