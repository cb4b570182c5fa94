"""What a sound program is: each rule broken once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import onnx
import pytest

from netwright.backends.cim.program import verify
from netwright.backends.cim.program.memory import check_memory
from netwright.backends.cim.program.model import HOST, Buffer, ChipProgram, Load, Region, Send, Sync, Tensor, Work
from netwright.ir.errors import NetwrightError, VerifyError
from tests.backends.cim.program import chips
from tests.backends.cim.program.chips import with_instruction, without

FULL = ((0, 1), (0, 3), (0, 6))
LINEAR, CONV, RESIDUAL, RELOAD = chips.linear()[0], chips.conv()[0], chips.residual(), chips.reload()[0]
SWAPPED = "uint8[N, 4, 6] t, uint8[N, 4, 6] x) => (uint8[N, 4, 6] y"


def with_buffer(chip: ChipProgram, number: int, **changes: object) -> ChipProgram:
    buffers = list(chip.buffers)
    buffers[number] = replace(buffers[number], **changes)
    return replace(chip, buffers=tuple(buffers))


def with_unit(chip: ChipProgram, number: int, **changes: object) -> ChipProgram:
    units = list(chip.units)
    units[number] = replace(units[number], **changes)
    return replace(chip, units=tuple(units))


def sharing(chip: ChipProgram, first: str, second: str, *rings: str) -> ChipProgram:
    """The program with two buffers of tile 0 at one address, and rings of two rows."""
    own = {buffer.tensor: number for number, buffer in enumerate(chip.buffers) if buffer.tile == 0}
    for name in rings:
        chip = with_buffer(chip, own[name], ring=2)
    return with_buffer(chip, own[second], address=chip.buffers[own[first]].address)


def with_tensor(chip: ChipProgram, name: str, **changes: object) -> ChipProgram:
    return replace(chip, tensors={**chip.tensors, name: replace(chip.tensors[name], **changes)})


def with_port(chip: ChipProgram, name: str, shape: tuple[int | str | None, ...]) -> ChipProgram:
    return replace(chip, outputs=tuple(replace(one, shape=shape) if one.name == name else one for one in chip.outputs))


def with_region(body: str, head: str = "uint8[N, 4, 6] x, uint8[N, 4, 6] t) => (uint8[N, 4, 6] y") -> ChipProgram:
    made = chips.region(f"add ({head}) {{ {body} }}")
    return replace(RESIDUAL, regions=(replace(made, inputs=("x", "t"), outputs=("y",)), *RESIDUAL.regions[1:]))


def outside() -> Region:
    model = onnx.load_from_string(with_region("y = Max(x, t)").regions[0].model)
    weight = onnx.TensorProto(name="w", data_type=1, dims=[10**6], data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="/etc/passwd")
    model.graph.initializer.append(weight)
    return Region("add", model.SerializeToString(), ("x", "t"), ("y",), True, Work())


@pytest.mark.parametrize("chip", [LINEAR, CONV, RESIDUAL, RELOAD])
def test_sound_programs_have_an_order(chip: ChipProgram):
    order = verify(chip)

    assert len(order) == sum(map(len, chip.tiles.values())) + len(chip.host)
    assert all([index for tile, index in order if tile == own] == list(range(len(chip.tiles[own]))) for own in chip.tiles)


BROKEN: dict[str, tuple[Callable[[], ChipProgram], str]] = {
    "read before written": (lambda: without(LINEAR, tile=0, index=0), "before that is written"),
    "written twice": (lambda: with_instruction(LINEAR, 0, 2, target=3), "Its box|It is not what|over"),
    "nobody receives": (
        lambda: replace(LINEAR, tiles={**LINEAR.tiles, 1: (*LINEAR.tiles[1], Send(9, 8, FULL, 0))}),
        "Nobody",
    ),
    "sent twice": (lambda: replace(LINEAR, tiles={**LINEAR.tiles, 1: (*LINEAR.tiles[1], LINEAR.tiles[1][2])}), "sent on already"),
    "not what was sent": (lambda: with_instruction(LINEAR, 1, 2, box=((0, 1), (0, 2), (0, 6))), "not what tile 1, instruction 2"),
    "deadlock": (lambda: without(LINEAR, tile=1, index=2), "Deadlock.*tile 0, instruction 2 .receive of fc"),
    "output missing": (lambda: without(LINEAR, tile=0, index=5), "No buffer of the host"),
    "weights gone": (lambda: without(RELOAD, tile=0, index=5), "not in its arrays"),
    "arrays shared": (lambda: with_unit(with_unit(LINEAR, 1, tile=0), 1, first_array=1), "shares arrays|another tile"),
    "arrays beyond": (lambda: with_unit(LINEAR, 0, first_array=31), "not the tile's"),
    "rows within a block": (lambda: with_unit(LINEAR, 1, rows=(33, 40)), "within a block"),
    "another tile's unit": (lambda: with_instruction(LINEAR, 0, 1, unit=1), "another tile's"),
    "another tile's buffer": (lambda: with_instruction(LINEAR, 0, 1, source=7), "is on tile 1"),
    "no such buffer": (lambda: with_instruction(LINEAR, 0, 1, source=-1), "no source -1"),
    "no such sources": (lambda: with_instruction(LINEAR, 0, 3, sources=(3, 99)), "no buffers"),
    "box beyond its buffer": (lambda: with_buffer(LINEAR, 2, box=((0, 1), (0, 2), (0, 32))), "not within buffer 2"),
    "box of another rank": (lambda: with_instruction(LINEAR, 0, 4, box=((0, 3), (0, 6))), "2 axes"),
    "too few arrays": (lambda: with_unit(RELOAD, 0, arrays=1), "has 1 arrays; its weights take 2"),
    "weights gone in the next sample": (lambda: without(RELOAD, tile=0, index=0), "second sample the weights of unit 0"),
    "two axes of samples": (lambda: with_port(LINEAR, "y", ("N", "M", 6)), "one axis of size 1 may have a name"),
    "samples on a longer axis": (lambda: with_port(LINEAR, "y", (1, "N", 6)), "one axis of size 1 may have a name"),
    "an axis of no size": (lambda: with_port(LINEAR, "y", (None, 3, 6)), "one axis of size 1 may have a name"),
    "an output twice": (lambda: replace(LINEAR, outputs=LINEAR.outputs * 2), "Two have the same name"),
    "buffer too small": (lambda: with_buffer(LINEAR, 2, bytes=95), "It has 95 bytes; what it keeps of x takes 96"),
    "ring too small": (lambda: with_buffer(LINEAR, 2, ring=2, bytes=63), "It has 63 bytes; what it keeps of x takes 64"),
    "ring without rows": (lambda: with_tensor(with_buffer(LINEAR, 2, ring=1), "x", stream=-1), "not made in rows"),
    "two buffers in one place": (lambda: sharing(LINEAR, "x", "s#k0"), "are its and buffer|needed at the same time"),
    "read and written in one place": (lambda: sharing(LINEAR, "s", "y"), "needed at the same time"),
    "copies over another buffer": (lambda: with_buffer(LINEAR, 2, copies=2), "are its and buffer|needed at the same time"),
    "no copies": (lambda: with_buffer(LINEAR, 2, copies=0), "It is there 0 times"),
    "copies beyond all measure": (lambda: with_buffer(LINEAR, 2, bytes=0, copies=2**40), "on tiles 65,536 at most"),
    "copies on the host": (lambda: with_buffer(LINEAR, 0, copies=2), "on the host once"),
    "copies beyond the memory": (lambda: with_buffer(LINEAR, 2, address=262_000, copies=4), "beyond the tile's"),
    "memory too small": (lambda: with_buffer(LINEAR, 2, address=262_100), "beyond the tile's"),
    "tensor too large": (lambda: with_tensor(LINEAR, "x", shape=(1, 2**20, 2**20)), "larger than"),
    "negative extent": (lambda: with_tensor(LINEAR, "x", shape=(1, -3, 40)), "no shape"),
    "odd type": (lambda: with_tensor(LINEAR, "x", dtype="object"), "no element type"),
    "sums as bytes": (lambda: with_tensor(LINEAR, "s", dtype="uint8"), "not sums"),
    "scaling of another type": (lambda: with_tensor(LINEAR, "y", dtype="int8"), "Its type|uint8"),
    "window of another map": (lambda: with_instruction(CONV, 0, 1, window=replace(chips.WINDOW, size=(7, 5))), "no map"),
    "window of another kernel": (lambda: with_instruction(CONV, 0, 1, window=replace(chips.WINDOW, kernel=(3, 2))), "rows of K"),
    "absurd window": (lambda: with_instruction(CONV, 0, 1, window=replace(chips.WINDOW, strides=(0, 1))), "absurd"),
    "a chip that cannot be": (lambda: replace(LINEAR, arch=replace(LINEAR.arch, clock_mhz=-1.0)), "clock_mhz"),
    "tile off the chip": (lambda: replace(LINEAR, tiles={**LINEAR.tiles, 9: ()}), "4 tiles"),
    "host multiplies": (lambda: replace(LINEAR, host=LINEAR.tiles[0][1:2]), "Vector instructions only"),  # pyright: ignore[reportArgumentType]
    "no such tensor": (lambda: with_buffer(LINEAR, 0, tensor="z"), "no tensor"),
    "region is no model": (lambda: replace(RESIDUAL, regions=(replace(RESIDUAL.regions[0], model=b"x" * 99),)), "cannot be read|region"),
    "region of files": (lambda: replace(RESIDUAL, regions=(outside(), RESIDUAL.regions[1])), "cannot be read"),
    "region of own operators": (lambda: with_region("y = netwright.cim.Evil(x, t)"), "may have"),
    "region that grows": (
        lambda: with_region(
            "n = Constant<value_ints = [100000, 100000]>() e = Expand(s, n) f = ReduceMax(e) y = Max(x, t) ".replace("(s,", "(c,").replace(
                "n =", "c = Constant<value_float = 1.0>() n ="
            )
        ),
        "elements",
    ),
    "region for the host": (lambda: with_region("a = NonZero(x) y = Max(x, t)"), "cannot run its model"),
    "region of other shapes": (lambda: with_region("y = Concat<axis = 1>(x, t)"), "cannot be known|makes y"),
    "region of other names": (
        lambda: with_region("y = Max(x, t)", SWAPPED),
        "Its model reads",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_an_error(name: str):
    make, message = BROKEN[name]
    with pytest.raises(NetwrightError, match=message):
        verify(make())


def test_a_barrier_that_one_tile_never_reaches_is_a_deadlock():
    tiles = {0: (Sync(0), Sync(1)), 1: (Sync(1), Sync(0))}
    with pytest.raises(VerifyError, match=r"Deadlock: 2 lists wait.*tile 0, instruction 0.*tile 1, instruction 0"):
        verify(replace(RELOAD, tiles=tiles))


def test_tiles_meet_at_a_barrier_once():
    met = {tile: (Sync(4), *LINEAR.tiles[tile], Sync(7)) for tile in LINEAR.tiles}
    assert len(verify(replace(LINEAR, tiles=met))) == 9 + 4
    twice = {**met, 1: (Sync(4), *LINEAR.tiles[1], Sync(4))}
    with pytest.raises(VerifyError, match=r"Tile 1 has barrier 4 already.*tile 1, instruction 4 \(sync\)"):
        verify(replace(LINEAR, tiles=twice))
    both = {tile: (Sync(4), *LINEAR.tiles[tile], Sync(4)) for tile in LINEAR.tiles}
    with pytest.raises(VerifyError, match="tiles meet at a barrier once"):
        verify(replace(LINEAR, tiles=both))


def test_a_buffer_may_lie_where_another_was():
    shared = sharing(LINEAR, "x", "y")

    assert len(verify(shared)) == 9


def test_a_buffer_with_copies_shares_its_memory_with_nobody():
    shared = sharing(LINEAR, "x", "y")
    (y,) = [number for number, buffer in enumerate(shared.buffers) if buffer.tile == 0 and buffer.tensor == "y"]
    apart = 2**17
    assert len(verify(with_buffer(shared, y, address=apart, copies=3))) == 9
    with pytest.raises(VerifyError, match="needed at the same time"):
        verify(with_buffer(shared, y, copies=2))


def test_rings_keep_alive_what_is_at_work_with_them():
    assert len(verify(sharing(LINEAR, "x", "y", "s#k0"))) == 9
    with pytest.raises(VerifyError, match="needed at the same time"):
        verify(sharing(LINEAR, "x", "y", "s#k0", "s"))


def test_many_buffers_in_one_place_one_after_the_other():
    one, first = LINEAR.buffers[2], len(LINEAR.buffers)
    loads = tuple(Load(0, first + number, one.box) for number in range(20_000))
    crowd = replace(LINEAR, buffers=(*LINEAR.buffers, *[one] * len(loads)), tiles={**LINEAR.tiles, 0: (*loads, *LINEAR.tiles[0])})
    start = time.thread_time()
    check_memory(crowd)

    assert time.thread_time() - start < 5
    with pytest.raises(VerifyError, match="needed at the same time"):
        check_memory(replace(crowd, tiles={**crowd.tiles, 0: (*crowd.tiles[0], loads[9_000])}))


def test_a_buffer_of_the_host_may_be_filled_in_parts():
    assert len(verify(CONV)) == 18
    assert [b for b in CONV.buffers if b.tile == HOST] == [
        Buffer(HOST, "x", ((0, 1), (0, 6), (0, 5), (0, 8)), 0, 240),
        Buffer(HOST, "y", ((0, 1), (0, 3), (0, 5), (0, 4)), 0, 60),
    ]
    assert CONV.tensors["y"] == Tensor("y", "uint8", (1, 3, 5, 4), None, 1, 0)
