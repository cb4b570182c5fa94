"""Bits by site: the allocation whose errors at the outputs add up to the least within a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from netwright.ir.errors import PlanError
from netwright.ir.storage import saved_bytes
from netwright.passes.curves import Curve
from netwright.passes.quantize.choice import BlockWise, Choice
from netwright.passes.quantize.mixed.allocate import Option, least_error
from netwright.passes.quantize.mixed.errors import Errors, gradient_errors, measured_errors, reachable

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.quantize.units import Unit

By = Literal["measured", "gradients"]

_POINTS = 13
"""Of the curve."""

_SCALE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Allocation:
    """Bits of each unit.

    Attributes:
        bits: by unit.
        average: over all weights.
        error: the sum of what each unit adds.
        uniform: the same with one number of bits for all: the largest whole one within the budget.
        curve: what the best allocations err by, over average bits.
        note: for the report.
    """

    bits: Mapping[Unit, int]
    average: float
    error: float
    uniform: float
    curve: Curve
    note: str


def allocated_bits(
    program: Program, choices: Mapping[Unit, Choice], budget: Mapping[str, float], context: Context, *, by: By = "measured"
) -> Allocation:
    """Bits for each unit within a budget.

    What a unit's rounding costs at the outputs is measured with that unit alone rounded (or taken from gradients), and costs add up;
    then integer programming finds the bits (`least_error`). Rounding goes to the nearest integers here, whatever the choices say.

    Args:
        program: left as it is.
        choices: how each unit would be quantized; its bits are the most that it may have.
        budget: `bits`, the mean over all weights of the choices; `bytes`, what the program may take when saved, up to 1 as a fraction of
            what it takes as float.
        context: an executor and data (`measured`), or gradients and training data.
        by: where errors come from.

    Raises:
        PlanError: the budget is out of reach, with what can be reached.
        ContractError: what errors come from is missing.
    """
    if not choices:
        return Allocation({}, 0.0, 0.0, 0.0, _curve({}, {}, None), "")
    within = {unit: choice for unit, choice in choices.items() if reachable(program, unit)}
    wanted = budget.get("bits", 4.0)
    known = measured_errors(program, within, context, probe=max(2, round(wanted) - 1)) if by == "measured" else None
    errors: Mapping[Unit, Errors] = known if known is not None else gradient_errors(program, within, context)
    # of what cannot be tried nothing is taken
    errors = {unit: errors.get(unit, {choice.bits: 0.0}) for unit, choice in choices.items()}
    sizes = {unit: _elements(unit) for unit in choices}
    whole = sum(sizes.values())
    found: Mapping[Unit, Option] | None = None
    for quantity, limit in budget.items():
        if quantity == "bits":
            options, most = _by_bits(errors, sizes), limit * whole
        else:
            options = {unit: [Option(bits, stored_bytes(unit, choices[unit], bits), error) for bits, error in own.items()]
                       for unit, own in errors.items()}  # fmt: skip
            most = _bytes_left(program, choices, limit)
        solved = least_error(options, most)
        if solved is None:
            raise _out_of_reach(quantity, limit, options, whole, choices)
        if found is None or _average(solved, sizes) < _average(found, sizes):
            found = solved
    assert found is not None, "a budget is not empty"
    chosen = {unit: one.bits for unit, one in found.items()}
    average, error = _average(found, sizes), sum(one.error for one in found.values())
    uniform = _uniform(errors, average)
    curve = _curve(errors, sizes, (average, error))
    return Allocation(chosen, average, error, uniform, curve, _note(chosen, choices, sizes, average, error, uniform))


def stored_bytes(unit: Unit, choice: Choice, bits: int) -> float:
    """What a unit's weights take in the file: a byte each, whatever the bits, but in blocks, where they are packed."""
    size = _elements(unit)
    if not isinstance(choice, BlockWise):
        return float(size + _SCALE_BYTES * sum(one.columns for one in unit.sites[:1]))
    blocks = size / choice.block_size
    return size * bits / 8 + blocks * (_SCALE_BYTES + (0 if choice.symmetric else bits / 8))


def _elements(unit: Unit) -> int:
    return sum(weight.const_value.size for weight in unit.weights if weight.const_value is not None)


def _by_bits(errors: Mapping[Unit, Errors], sizes: Mapping[Unit, int]) -> dict[Unit, list[Option]]:
    return {unit: [Option(bits, bits * sizes[unit], error) for bits, error in own.items()] for unit, own in errors.items()}


def _bytes_left(program: Program, choices: Mapping[Unit, Choice], limit: float) -> float:
    """What the units' weights may take: the limit less all else in the file."""
    whole = saved_bytes(program.model)
    own = sum(weight.const_value.nbytes for unit in choices for weight in unit.weights if weight.const_value is not None)
    return (limit * whole if limit <= 1 else limit) - (whole - own)


def _average(options: Mapping[Unit, Option], sizes: Mapping[Unit, int]) -> float:
    return sum(one.bits * sizes[unit] for unit, one in options.items()) / max(1, sum(sizes.values()))


def _uniform(errors: Mapping[Unit, Errors], average: float) -> float:
    """The sum of errors with one number of bits for all, as many as fit into the average."""
    return sum(own[max((bits for bits in own if bits <= average + 1e-9), default=min(own))] for own in errors.values())


def _curve(errors: Mapping[Unit, Errors], sizes: Mapping[Unit, int], chosen: tuple[float, float] | None) -> Curve:
    every = sorted({bits for own in errors.values() for bits in own})
    whole = sum(sizes.values())
    best: dict[float, float] = {}
    if every:
        options = _by_bits(errors, sizes)
        for at in range(_POINTS):
            solved = least_error(options, (every[0] + (every[-1] - every[0]) * at / (_POINTS - 1)) * whole)
            if solved is not None:
                best[round(_average(solved, sizes), 4)] = sum(one.error for one in solved.values())
    alike = [(float(bits), _uniform(errors, bits)) for bits in every]
    series = {"bits by site": sorted(best.items()), "the same bits everywhere": alike}
    return Curve("Error at the outputs over bits", "average bits of a weight", "squared relative error", series, chosen, log=True)


def _note(
    chosen: Mapping[Unit, int], choices: Mapping[Unit, Choice], sizes: Mapping[Unit, int], average: float, error: float, uniform: float
) -> str:
    counts = {bits: sum(1 for own in chosen.values() if own == bits) for bits in sorted(set(chosen.values()), reverse=True)}
    told = ", ".join(f"{count} with {bits}" for bits, count in counts.items())
    note = (
        f"bits by site: {average:.2f} on average ({told}); expected squared error {error:.3g}, with the same bits everywhere {uniform:.3g}"
    )
    in_bytes = sum(sizes[unit] for unit, choice in choices.items() if not isinstance(choice, BlockWise) and chosen[unit] < 8)
    if not in_bytes:
        return note
    packed = sum(sizes[unit] * bits for unit, bits in chosen.items()) / 8
    return (
        f"{note}; weights of fewer than 8 bits lie in bytes all the same, as ONNX Runtime's integer kernels take them: the file and the "
        f"latency are those of 8 bits, packed they would take {packed / 1e6:.2f} MB"
    )


def _out_of_reach(
    quantity: str, limit: float, options: Mapping[Unit, list[Option]], whole: int, choices: Mapping[Unit, Choice]
) -> PlanError:
    least = sum(min(one.cost for one in own) for own in options.values())
    if quantity == "bits":
        told = f"A budget of {limit:g} bits is out of reach: with the fewest bits everywhere there are {least / whole:.2f} on average."
    else:
        told = f"A budget of {limit:g} bytes is out of reach: the weights to be quantized alone take {least:,.0f}."
    in_bytes = not all(isinstance(choice, BlockWise) for choice in choices.values())
    remedy = "Raise it, or allow more sites."
    if quantity == "bytes" and in_bytes:
        remedy = "Raise it, or write scheme='weights', which packs 4-bit weights; with other schemes each weight takes a byte."
    return PlanError(told, place="quantize", remedy=remedy)
