"""Programs drawn at will, and what their rows read and write."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import (
    ChipProgram,
    Instruction,
    Mvm,
    Options,
    Reach,
    Reload,
    Requantize,
    Send,
    Sync,
    Vector,
    Work,
    Write,
)
from tests.backends.cim.schedule.chips import Builder, whole


def one_product() -> ChipProgram:
    """32 bytes in, a product 32 → 8, bytes out: on tile 0, beside outer memory."""
    build = Builder()
    x = build.load(0, build.tensor("x", (1, 32), stream=-1))
    unit = build.unit(0, 32, 8, "fc")
    sums = build.buffer(0, build.tensor("s", (1, 8), dtype="int32", stream=-1))
    build.add(0, Mvm(unit, x, sums, ((0, 1), (0, 8)), None, "fc"))
    made = build.buffer(0, build.tensor("y", (1, 8), stream=-1))
    build.add(0, Requantize(build.scaling(8), sums, made, ((0, 1), (0, 8)), "fc"))
    build.store(0, made)
    return build.build()


@st.composite
def programs(draw: st.DrawFn) -> ChipProgram:
    """Maps through convolutions, sums and regions on tiles drawn at will, some through rings."""
    build = Builder(options=Options(pipeline=draw(st.booleans())))
    size, channels = draw(st.integers(3, 7)), draw(st.sampled_from((4, 9)))
    ring = draw(st.sampled_from((0, 0, 5)))
    here = [build.load(draw(st.integers(0, 15)), build.tensor("x", (1, size, size, channels)), ring=ring)]
    rings = {here[0]} if ring else set[int]()
    for step in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(("conv", "conv", "send", "add", "pool")))
        source = here.pop(draw(st.integers(0, len(here) - 1)))
        tile = build.buffers[source].tile
        if kind == "conv":
            kernel = draw(st.sampled_from((1, 3)))
            shape = build.tensors[build.buffers[source].tensor].shape
            stride = draw(st.sampled_from((1, 2))) if min(shape[1:3]) > 2 else 1
            copies, kept = draw(st.sampled_from((1, 1, 4))), draw(st.sampled_from((0, 2)))
            made = build.conv(tile, source, f"c{step}", channels, kernel=kernel, stride=stride, copies=copies, ring=kept)
        elif kind == "add":
            made = build.add_up(tile, (source,), f"a{step}")
        elif kind == "pool":
            shape = build.tensors[build.buffers[source].tensor].shape
            build.tensor(f"p{step}", (1, max(shape[1] // 2, 1), shape[2], shape[3]))
            region = build.region(f"p{step}", (build.buffers[source].tensor,), (f"p{step}",), Work(elements=99, special=7))
            build.regions[region] = replace(build.regions[region], reaches=(Reach(2, 1),))
            made = build.buffer(tile, f"p{step}")
            build.add(tile, Vector(region, (source,), (made,), whole(build.tensors[f"p{step}"].shape), f"p{step}"))
        else:
            to = draw(st.integers(0, 15).filter(lambda other, tile=tile: other != tile))
            made = build.send(source, to, layer=f"m{step}")
        here.append(made)
        if kind != "add" and draw(st.booleans()) and source not in rings:
            here.append(source)
    for buffer in here:
        if build.buffers[buffer].ring == 0:
            build.store(build.buffers[buffer].tile, buffer)
    return build.build()


def row_of(chip: ChipProgram, one: Instruction, row: int, rows: int) -> Instruction:
    """An instruction cut to one row of what it makes."""
    if rows == 1 or isinstance(one, Reload | Write | Sync):
        return one
    lead = one.source if isinstance(one, Send) else one.targets[0] if isinstance(one, Vector) else one.target
    axis = chip.tensors[chip.buffers[lead].tensor].stream
    first = one.box[axis][0] + row
    return replace(one, box=(*one.box[:axis], (first, first + 1), *one.box[axis + 1 :]))


def meet(one: Box, other: Box) -> bool:
    return all(a < d and c < b for (a, b), (c, d) in zip(one, other, strict=True))
