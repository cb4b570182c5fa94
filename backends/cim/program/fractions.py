"""Sums of parts of K where conversions give fractions (modes `range` and `charge`): they travel as numerators and are divided once.

A product's conversions are added up and divided at the end, so that an uncut matrix is rounded once. A unit that holds a part of K only
must not round: it makes int64 numerators over the matrix's denominator, `Accumulate` adds them, and the last one divides. Where no
conversion of the matrix loses anything, parts are whole numbers and nothing is divided.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from netwright.backends.cim.coding.adc import denominator
from netwright.backends.cim.coding.checks import lossless
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.program.model import HOST, Accumulate, ChipProgram, Mvm, Requantize, Store, Unit, Vector
from netwright.backends.cim.program.order import Place, name_of
from netwright.ir.errors import VerifyError


@cache
def denominator_of_parts(rows: int, coding: Coding) -> int:
    """What sums of parts of K are over, of a matrix of so many rows; 1 for whole numbers."""
    held = {min(rows, coding.rows), rows % coding.rows} - {0}
    return 1 if all(lossless(coding, one) for one in held) else denominator(coding)


def denominator_of(chip: ChipProgram, unit: Unit) -> int:
    """What the sums of a unit are over."""
    matrix = chip.matrices[unit.matrix]
    rows = matrix.values.shape[0]
    return 1 if unit.rows == (0, rows) else denominator_of_parts(rows, matrix.coding)


def check_fractions(chip: ChipProgram, order: Iterable[Place]) -> None:
    """Hold that numerators are int64, that those added up have one denominator, and that only divided sums go on.

    Raises:
        VerifyError: it is not so.
    """
    over: dict[str, int] = {}

    def name(buffer: int) -> str:
        return chip.buffers[buffer].tensor

    for place in order:
        one = (chip.host if place[0] == HOST else chip.tiles[place[0]])[place[1]]
        made, found = "", 1
        if isinstance(one, Mvm):
            made, found = name(one.target), denominator_of(chip, chip.units[one.unit])
        elif isinstance(one, Accumulate):
            made = name(one.target)
            given = {over.get(name(source), 1) for source in one.sources}
            found = given.pop()
            _hold(not given, chip, place, "It adds sums over different denominators.")
            _hold(one.denominator in (1, found), chip, place, f"It divides by {one.denominator}; its sources are over {found}.")
            found //= one.denominator
        elif isinstance(one, Requantize | Vector | Store):
            sources = one.sources if isinstance(one, Vector) else (one.source,)
            left = next((source for source in map(name, sources) if over.get(source, 1) != 1), None)
            _hold(left is None, chip, place, f"It takes {left}, numerators over {over.get(left or '', 1)} that nobody has divided.")
        if made:
            _hold(over.setdefault(made, found) == found, chip, place, f"It makes {made} over {found}; other parts are over {over[made]}.")
            _hold(found == 1 or chip.tensors[made].dtype == "int64", chip, place, f"Numerators are int64; {made} is not.")


def _hold(holds: bool, chip: ChipProgram, place: Place, message: str) -> None:
    if not holds:
        remedy = "The program is damaged, or the mapping is wrong: compile the model again."
        raise VerifyError(message, place=name_of(chip, place), remedy=remedy)
