"""From a lowered program to the chip's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx_ir

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.cost.delays import dram_ns, mvm_ns
from netwright.backends.cim.mapping.boxes import whole
from netwright.backends.cim.mapping.copying import with_copies
from netwright.backends.cim.mapping.duplication import Layer, copies_of
from netwright.backends.cim.mapping.emitting import by_tile, instructions
from netwright.backends.cim.mapping.facts import Facts
from netwright.backends.cim.mapping.fitting import TooLarge, fit
from netwright.backends.cim.mapping.floor import Floor
from netwright.backends.cim.mapping.hosting import hosted, product_to_host
from netwright.backends.cim.mapping.lessons import Memories
from netwright.backends.cim.mapping.pieces import BATCH, batch_axes
from netwright.backends.cim.mapping.placing import Placer
from netwright.backends.cim.mapping.planning import Plan, Planner
from netwright.backends.cim.mapping.products import product_notes, written_notes
from netwright.backends.cim.mapping.regions import Piece
from netwright.backends.cim.mapping.seams import cut_to_fit
from netwright.backends.cim.mapping.stages import Product, Stage, cut_axis
from netwright.backends.cim.mapping.tasks import Part, bytes_of
from netwright.backends.cim.mapping.units import pattern_of
from netwright.backends.cim.program.batches import batch_axes_of
from netwright.backends.cim.program.model import ChipProgram, Options, Reach, Region, host_note
from netwright.ir.program import Program
from netwright.ir.shapes import static_shape
from netwright.ir.signature import Port, port

FILL = (0.95, 0.85, 0.7, 0.5)
"""Shares of the arrays that copies may fill, tried one after the other: tiles cannot always be filled to the last array."""


def build(program: Program, arch: Arch, options: Options = Options(), *, name: str) -> ChipProgram:  # noqa: B008
    """Map a lowered program to a chip.

    Args:
        program: lowered: static shapes (the batch 1), products as `CrossbarMatMul`; left as it is.
        arch: the chip.
        options: of the mapping; values do not depend on them.
        name: of the model.

    What tiles have too little memory for goes to the host, regions first, then products, with notes that say so.

    Raises:
        UnsupportedModelError: the chip cannot hold it, with the sizes: not one product would be in arrays.
    """
    memory, products = Memories(), dict[str, str]()
    whole_program = program
    while True:
        plan, placer = _planned(program, arch, options, memory)
        tensors = plan.facts.tensors
        inputs, outputs = (
            [Part(value.name or "", whole(tensors[value.name or ""].shape)) for value in side] for side in (program.inputs, program.outputs)
        )
        try:
            laid = fit(plan.tasks, inputs, outputs, tensors, arch, pipeline=options.pipeline)
            break
        except TooLarge as error:
            if not memory.learn(error.lessons, arch.network.tiles):
                sums = product_to_host(program, error.tensors)
                if sums is None:
                    raise
                products[sums] = error.message.rstrip(".")
                program = hosted(whole_program, products)
    order = instructions(laid, placer.units)
    tiles, host = by_tile(order)
    given, gives = _ports(whole_program)
    notes = [*plan.notes, *laid.notes, *_notes(plan, placer, arch)]
    chip = ChipProgram(
        name=name,
        arch=arch,
        options=options,
        inputs=given,
        outputs=gives,
        tensors=laid.tensors,
        buffers=laid.buffers,
        matrices=tuple(placer.matrices),
        units=tuple(placer.units),
        regions=tuple(_region(piece, plan.facts.reaches[piece.name]) for piece in plan.pieces),
        scalings=tuple(plan.scalings),
        tiles=tiles,
        host=host,
        notes=tuple(notes),
    )
    return with_copies(chip, order, laid.turns)


def _planned(program: Program, arch: Arch, options: Options, memory: Memories) -> tuple[Plan, Placer]:
    """Everything placed: with as many copies as fit into one load of the arrays, or with none."""
    for share in (*FILL, 0.0) if options.duplicate else (0.0,):
        _, stages, facts = cut_to_fit(program, arch)
        copies, time_ns = _copies(stages, facts, arch, int(arch.arrays * share))
        floor = Floor(arch)
        placer = Placer(arch, floor, copies)
        planner = Planner(arch, facts, placer, floor, time_ns, memory)
        for stage in stages:
            planner.add(stage)
        if placer.phase == 0 or not any(count > 1 for count in copies.values()):
            planner.plan.notes += written_notes(stages, arch)
            return planner.plan, placer
    raise AssertionError("without copies, any number of phases will do")


def _copies(stages: Sequence[Stage], facts: Facts, arch: Arch, arrays: int) -> tuple[Mapping[tuple[str, Coding], int], float]:
    """The copies of each matrix, and the time of the slowest layer."""
    users: dict[tuple[str, Coding], list[Product]] = defaultdict(list)
    for stage in stages:
        if isinstance(stage, Product) and stage.lead is None:
            users[stage.weight, stage.coding].append(stage)
    layers: list[Layer] = []
    for (_, coding), products in users.items():
        pattern = pattern_of(arch, coding, (products[0].values.shape[0], products[0].values.shape[1]))
        extents = [one.shape[cut_axis(one)] if cut_axis(one) >= 0 else 1 for one in products]
        vector = mvm_ns(arch, coding, -(-min(pattern.size[0], pattern.step[0]) // coding.rows))
        row = sum(one.positions / extent for one, extent in zip(products, extents, strict=True)) * vector
        layers.append(Layer(pattern.arrays, row, max(extents)))
    fed = {name for stage in stages if isinstance(stage, Piece) for name in stage.inputs}
    loads = sum(dram_ns(arch, bytes_of(facts.tensors[name])) for name in fed if name not in _made(stages))
    found = copies_of(layers, arrays, floor_ns=loads / 2)
    slowest = max((layer.time_ns(copies) for layer, copies in zip(layers, found, strict=True)), default=loads)
    return dict(zip(users, found, strict=True)), max(slowest, loads / 2, 1.0)


def _made(stages: Sequence[Stage]) -> set[str]:
    found: set[str] = set()
    for stage in stages:
        if isinstance(stage, Piece):
            found |= set(stage.outputs)
        elif isinstance(stage, Product):
            found |= {stage.sums, stage.rescale.target if stage.rescale is not None else stage.sums}
        else:
            found.add(stage.target)
    return found


def _notes(plan: Plan, placer: Placer, arch: Arch) -> list[str]:
    found = [host_note(piece.name, piece.why_host) for piece in plan.pieces if piece.why_host]
    if placer.phase:
        arrays = sum(unit.arrays for unit in placer.units)
        found.append(
            f"The weights take {arrays} arrays and {arch.name} has {arch.arrays}: arrays are written anew {placer.phase} times a sample."
        )
    return found + product_notes(plan.pieces, arch)


def _ports(program: Program) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """What a caller feeds and gets: the batch is a name, on the axis that the model gives it; where it does not tell, on that followed."""
    told, followed = batch_axes_of(program), batch_axes(program)
    name = told.name if told is not None else BATCH

    def named(value: onnx_ir.Value, axis: int | None) -> Port:
        found = port(value)
        axis = followed[found.name] if axis is None else axis
        return replace(found, shape=tuple(name if place == axis else size for place, size in enumerate(static_shape(value) or ())))

    inputs = told.inputs if told is not None else (None,) * len(program.inputs)
    outputs = told.outputs if told is not None else (None,) * len(program.outputs)
    return tuple(map(named, program.inputs, inputs)), tuple(map(named, program.outputs, outputs))


def _region(piece: Piece, reaches: tuple[Reach, ...]) -> Region:
    data = onnx_ir.to_proto(piece.program.model).SerializeToString()
    return Region(piece.name, data, piece.inputs, piece.outputs, piece.batchable, piece.work, piece.why_host, reaches)
