"""Whether a ChipProgram is sound: numbers within their lists, boxes within their buffers, types, memories and arrays; then its order.

A program that passes can be executed: no index fails, nothing is read that was not written, nothing waits for ever, and no size is
beyond what its chip and `LIMIT` allow.
"""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from math import prod
from typing import cast

import numpy as np

from netwright.backends.cim.arch.checks import check as check_arch
from netwright.backends.cim.coding.checks import check as check_coding
from netwright.backends.cim.coding.slicing import columns_of
from netwright.backends.cim.program.access import contains, extents, reads, shape_of, whole, writes
from netwright.backends.cim.program.fractions import check_fractions
from netwright.backends.cim.program.layout import Layout
from netwright.backends.cim.program.memory import check_memory
from netwright.backends.cim.program.model import HOST, ChipProgram, Instruction, Unit, Vector
from netwright.backends.cim.program.order import Place, order
from netwright.backends.cim.program.regions import check_region
from netwright.backends.cim.program.rules import check_instruction
from netwright.ir.errors import NetwrightError, VerifyError

LIMIT = 2**31
"""Largest tensor of one sample, in bytes."""
COPIES = 2**16
"""Most copies of a buffer."""
DTYPES = frozenset(
    ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64", "bfloat16")
)


def verify(chip: ChipProgram, *, regions: bool = True) -> tuple[Place, ...]:
    """Hold that a program is sound.

    Args:
        chip: the program.
        regions: look into the models of its regions too (they were, where they come from a compiler of one's own).

    Returns:
        An order in which its instructions can be followed.

    Raises:
        VerifyError: a rule is broken; the place names it.
        ChipError: the chip itself is not sound.
    """
    check_arch(chip.arch)
    _tensors(chip)
    _buffers(chip)
    _matrices(chip)
    _units(chip)
    _ports(chip)
    for number, region in enumerate(chip.regions):
        missing = [name for name in (*region.inputs, *region.outputs) if name not in chip.tensors]
        require(not missing, f"region {number}", f"It names {missing[:1]}, which is no tensor.")
        if regions:
            check_region(region, chip.tensors, place=f"region {number} ({region.name})")
    for tile, own in chip.tiles.items():
        require(0 <= tile < chip.arch.network.tiles, f"tile {tile}", f"The chip has {chip.arch.network.tiles} tiles.")
        for index, one in enumerate(own):
            _instruction(chip, tile, index, one)
    for index, one in enumerate(chip.host):
        _instruction(chip, HOST, index, one)
    found = order(chip)
    check_fractions(chip, found)
    check_memory(chip)
    return found


def require(holds: bool, place: str, message: str) -> None:
    """Raise a VerifyError where something does not hold."""
    if not holds:
        raise VerifyError(message, place=place, remedy="The program is damaged, or the mapping is wrong: compile the model again.")


def _tensors(chip: ChipProgram) -> None:
    for one in chip.tensors.values():
        place = f"tensor {one.name}"
        require(one.dtype in DTYPES, place, f"{one.dtype!r} is no element type of a chip.")
        require(len(one.shape) <= 16 and all(extent >= 0 for extent in one.shape), place, f"{one.shape} is no shape.")
        require(prod(max(extent, 1) for extent in one.shape) <= LIMIT, place, f"{one.shape} is larger than {LIMIT:,} elements.")
        require(-1 <= one.stream < max(len(one.shape), 1), place, f"Axis {one.stream} of {one.shape} cannot be streamed.")
        batch = one.batch_axis
        require(-1 <= batch < len(one.shape), place, f"Axis {batch} of {one.shape} cannot be the batch.")
        require(batch < 0 or one.shape[batch] == 1, place, f"The batch axis {batch} of {one.shape} is not 1.")
        if one.layout is not None:
            _layout(one.layout, one.shape, place, chip.arch.network.tiles)


def _layout(layout: Layout, shape: tuple[int, ...], place: str, tiles: int) -> None:
    require(layout.shape == shape, place, f"Its layout is of {layout.shape}, not of {shape}.")
    require(all(axis.grid >= 1 and axis.block >= 1 for axis in layout.axes), place, "Its layout has an axis without places.")
    places = prod(axis.grid for axis in layout.axes)
    require(len(layout.tiles) == places or places == 1, place, f"Its layout has {places} places and {len(layout.tiles)} tiles.")
    require(len(layout.bases) == len(layout.tiles), place, f"Its layout has {len(layout.tiles)} tiles and {len(layout.bases)} addresses.")
    require(bool(layout.tiles) and all(HOST <= tile < tiles for tile in layout.tiles), place, "Its layout names tiles that are not there.")


def _buffers(chip: ChipProgram) -> None:
    room = chip.arch.tile.memory.bytes
    for number, one in enumerate(chip.buffers):
        place = f"buffer {number}"
        require(one.tensor in chip.tensors, place, f"{one.tensor!r} is no tensor.")
        require(HOST <= one.tile < chip.arch.network.tiles, place, f"There is no tile {one.tile}.")
        inside = contains(whole(chip.tensors[one.tensor].shape), one.box) and all(start <= stop for start, stop in one.box)
        require(inside, place, f"Its box {one.box} is not within {one.tensor}.")
        require(one.ring >= 0 and one.bytes >= 0 and one.address >= 0, place, "A negative size.")
        sound = one.copies == 1 if one.tile == HOST else 1 <= one.copies <= COPIES
        require(sound, place, f"It is there {one.copies:,} times: on tiles {COPIES:,} at most, on the host once.")
        require(one.tile == HOST or one.address + one.room <= room, place, f"It ends beyond the tile's {room:,} bytes.")


def _matrices(chip: ChipProgram) -> None:
    for number, one in enumerate(chip.matrices):
        place = f"matrix {number} ({one.name})"
        require(one.values.dtype == np.int8 and one.values.ndim == 2, place, "Its values are not int8 [K, J].")
        coding, converter = one.coding, one.coding.converter
        if one.source:
            held = chip.tensors.get(one.source)
            fits = held is not None and held.dtype == "int8" and len(held.shape) > 1 and held.shape[-2:] == one.values.shape
            require(
                fits and not one.values.any(), place, f"It is written from {one.source}, which is no int8 tensor [..., K, J] of its size."
            )
        sound = 1 <= coding.rows <= 2**20 and 1 <= coding.digit_bits <= coding.input_bits <= 16 and 1 <= coding.cell_bits <= 8
        sound = sound and coding.weight_bits in range(1, 9) and 1 <= converter.bits <= 24 and converter.step >= 1
        sound = sound and coding.masking.group >= 1 and coding.masking.parasitic >= 0 and 0 <= converter.low <= converter.high
        require(sound, place, "Its coding has figures out of range.")
        try:
            check_coding(coding)
        except NetwrightError as error:
            raise VerifyError(error.message, place=place, remedy=error.remedy) from error
    for number, one in enumerate(chip.scalings):
        place = f"scaling {number} ({one.name})"
        flat = one.bias.dtype == np.int32 and one.multiplier.dtype == np.float32 and one.bias.ndim == one.multiplier.ndim == 1
        require(flat and one.bias.size == one.multiplier.size, place, "It needs a bias int32 [J] and a multiplier float32 [J].")
        require(one.dtype in ("uint8", "int8"), place, f"It makes {one.dtype}: uint8 or int8 were expected.")
        limits = np.iinfo(one.dtype)
        inside = limits.min <= one.low <= one.high <= limits.max and limits.min <= one.zero_point <= limits.max
        require(inside, place, f"Its bounds and zero point are not of {one.dtype}.")


def _units(chip: ChipProgram) -> None:
    held: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for number, one in enumerate(chip.units):
        place = f"unit {number}"
        require(0 <= one.matrix < len(chip.matrices), place, f"There is no matrix {one.matrix}.")
        matrix = chip.matrices[one.matrix]
        ranges = zip((one.rows, one.columns), matrix.values.shape, strict=True)
        require(all(0 <= start < stop <= size for (start, stop), size in ranges), place, f"It is not within {matrix.values.shape}.")
        require(one.rows[0] % matrix.coding.rows == 0, place, f"Its rows begin at {one.rows[0]}, within a block of {matrix.coding.rows}.")
        require(0 <= one.tile < chip.arch.network.tiles and one.phase >= 0, place, f"There is no tile {one.tile}.")
        last = one.first_array + one.arrays
        require(one.arrays >= 1 and one.first_array >= 0 and last <= chip.arch.tile_arrays, place, "Its arrays are not the tile's.")
        wanted = _arrays(chip, one)
        require(one.arrays >= wanted, place, f"It has {one.arrays} arrays; its weights take {wanted}.")
        held.setdefault((one.tile, one.phase), []).append((one.first_array, last, number))
    for own in held.values():
        for (_, stop, one), (start, _, other) in pairwise(sorted(own)):
            require(stop <= start, f"unit {other}", f"It shares arrays with unit {one} in one phase.")


def _arrays(chip: ChipProgram, unit: Unit) -> int:
    """Arrays that a unit's weights fill at least: blocks of rows and outputs are not split."""
    coding, array = chip.matrices[unit.matrix].coding, chip.arch.array
    down, across = array.rows // coding.rows * coding.rows, array.columns // columns_of(coding)
    require(down > 0 and across > 0, f"matrix {unit.matrix}", f"{coding.rows} rows or an output's columns are more than an array has.")
    return -(-(unit.rows[1] - unit.rows[0]) // down) * -(-(unit.columns[1] - unit.columns[0]) // across)


def _ports(chip: ChipProgram) -> None:
    for one in (*chip.inputs, *chip.outputs):
        tensor = chip.tensors.get(one.name)
        require(tensor is not None and one.kind == "tensor", f"port {one.name}", "It is no tensor.")
        assert tensor is not None
        require(
            one.dtype is None or one.dtype.name.lower() == _onnx_name(tensor.dtype), f"port {one.name}", "Its type is not its tensor's."
        )
        fits = one.shape is not None and len(one.shape) == len(tensor.shape)
        fits = fits and all(not isinstance(a, int) or a == b for a, b in zip(one.shape or (), tensor.shape, strict=True))
        require(fits, f"port {one.name}", f"It is {one}, and its tensor {tensor.shape}.")
        batch = [tensor.shape[axis] for axis, size in enumerate(one.shape or ()) if not isinstance(size, int)]
        message = f"It is {one}, and its tensor {tensor.shape}: one axis of size 1 may have a name, the batch."
        require(batch in ([], [1]) and None not in (one.shape or ()), f"port {one.name}", message)
    for side, own in (("inputs", chip.inputs), ("outputs", chip.outputs)):
        require(len({one.name for one in own}) == len(own), side, "Two have the same name.")


def _onnx_name(dtype: str) -> str:
    return {"float32": "float", "float64": "double"}.get(dtype, dtype)


_INDICES = {"unit": "units", "region": "regions", "scaling": "scalings", "source": "buffers", "target": "buffers"}


def _instruction(chip: ChipProgram, tile: int, index: int, one: Instruction) -> None:
    place = f"{'host' if tile == HOST else f'tile {tile}'}, instruction {index} ({type(one).__name__.lower()})"
    for name in (field.name for field in fields(one)):
        value: object = getattr(one, name)
        if name in _INDICES and isinstance(value, int):
            require(0 <= value < len(getattr(chip, _INDICES[name])), place, f"There is no {name} {value}.")
        elif name in ("sources", "targets"):
            numbers = cast("tuple[int, ...]", value)
            require(all(0 <= number < len(chip.buffers) for number in numbers), place, f"Its {name} are no buffers.")
    require(tile != HOST or isinstance(one, Vector), place, "The host has Vector instructions only.")
    unit: Unit | None = chip.units[number] if isinstance(number := getattr(one, "unit", None), int) else None
    require(unit is None or unit.tile == tile, place, "The unit is another tile's.")
    check_instruction(chip, tile, one, place)
    for buffer, box in (*reads(chip, one), *writes(chip, one)):
        inside = contains(chip.buffers[buffer].box, box) and all(start <= stop for start, stop in box)
        held, shape = chip.buffers[buffer], shape_of(chip, buffer)
        require(inside, place, f"{extents(box)} at {box} is not within buffer {buffer}, {held.box} of {held.tensor} {shape}.")
