"""Arrays that are written for every sample: each rule of sound programs broken once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.cim.arch import resolve
from netwright.backends.cim.mapping import build
from netwright.backends.cim.program import verify
from netwright.backends.cim.program.model import ChipProgram, Instruction, Mvm, Reload, Write
from netwright.ir.errors import VerifyError
from tests.backends.cim.attention import in_integers, on_crossbars

ARCH = resolve("generic-28nm")


@pytest.fixture(scope="module")
def chip() -> ChipProgram:
    return build(on_crossbars(in_integers(ARCH).program, ARCH), ARCH, name="block")


def place(chip: ChipProgram, nth: int = 0) -> tuple[int, int, Write]:
    """A write: its tile and number there."""
    return [(tile, n, one) for tile, own in chip.tiles.items() for n, one in enumerate(own) if isinstance(one, Write)][nth]


def edited(chip: ChipProgram, tile: int, change: Callable[[list[Instruction]], Sequence[Instruction]]) -> ChipProgram:
    return replace(chip, tiles={**chip.tiles, tile: tuple(change(list(chip.tiles[tile])))})


def test_it_is_sound(chip: ChipProgram) -> None:
    assert len(verify(chip)) == sum(map(len, chip.tiles.values())) + len(chip.host)


def test_a_use_before_the_write(chip: ChipProgram) -> None:
    tile, n, one = place(chip)

    def behind(own: list[Instruction]) -> list[Instruction]:
        use = next(m for m, other in enumerate(own) if isinstance(other, Mvm) and other.unit == one.unit)
        return [*own[:n], *own[n + 1 : use + 1], one, *own[use + 1 :]]

    with pytest.raises(VerifyError, match=f"weights of unit {one.unit} are not in its arrays"):
        verify(edited(chip, tile, behind))


def test_no_write_at_all(chip: ChipProgram) -> None:
    tile, n, one = place(chip)
    with pytest.raises(VerifyError, match=f"weights of unit {one.unit} are not in its arrays"):
        verify(edited(chip, tile, lambda own: [*own[:n], *own[n + 1 :]]))


def test_a_write_before_its_source_is_there(chip: ChipProgram) -> None:
    tile, n, one = place(chip)
    with pytest.raises(VerifyError, match="before that is written"):
        verify(edited(chip, tile, lambda own: [one, *own[:n], *own[n + 1 :]]))


def test_another_matrix_than_the_product_is_of(chip: ChipProgram) -> None:
    tile, n, one = place(chip)
    held = chip.buffers[one.source].box[1]
    assert held[1] - held[0] > 1, "the tile has several heads"
    head = next(place for place in range(*held) if place != one.box[1][0])
    moved = replace(one, box=(one.box[0], (head, head + 1), *one.box[2:]))
    with pytest.raises(VerifyError, match=f"Unit {one.unit} holds the matrix at"):
        verify(edited(chip, tile, lambda own: [*own[:n], moved, *own[n + 1 :]]))


def two_matrices(one: Write) -> Instruction:
    return replace(one, box=((0, 1), (0, 2), *one.box[2:]))


def fewer_rows(one: Write) -> Instruction:
    return replace(one, box=(*one.box[:2], (0, 2), one.box[3]))


def fewer_axes(one: Write) -> Instruction:
    return replace(one, box=one.box[1:])


def reload(one: Write) -> Instruction:
    return Reload(one.unit, one.layer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (two_matrices, "more than one matrix"),
        (fewer_rows, "the unit holds rows"),
        (fewer_axes, "the unit holds rows"),
        (reload, "not from outer memory"),
    ],
)
def test_writes_of_something_else(chip: ChipProgram, change: Callable[[Write], Instruction], message: str) -> None:
    tile, n, one = place(chip)
    with pytest.raises(VerifyError, match=message):
        verify(edited(chip, tile, lambda own: [*own[:n], change(one), *own[n + 1 :]]))


def test_a_constant_matrix_is_not_written(chip: ChipProgram) -> None:
    tile, n, one = place(chip)
    constant = next(number for number, unit in enumerate(chip.units) if unit.tile == tile and not chip.matrices[unit.matrix].source)
    with pytest.raises(VerifyError, match="the unit's matrix is constant"):
        verify(edited(chip, tile, lambda own: [*own[:n], replace(one, unit=constant), *own[n + 1 :]]))


@pytest.mark.parametrize("change", [{"values": np.ones((4, 12), np.int8)}, {"source": "nothing"}, {"values": np.zeros((3, 12), np.int8)}])
def test_a_computed_matrix_has_a_source_and_no_values(chip: ChipProgram, change: dict[str, object]) -> None:
    number = next(number for number, matrix in enumerate(chip.matrices) if matrix.source and matrix.values.shape == (4, 12))
    matrices = list(chip.matrices)
    matrices[number] = replace(matrices[number], **change)
    with pytest.raises(VerifyError, match="which is no int8 tensor"):
        verify(replace(chip, matrices=tuple(matrices)))
