"""What rounding each unit's weights to some bits costs at the outputs: measured, or to first order by gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.errors import ContractError
from netwright.ir.opinfo import is_float
from netwright.ir.program import array
from netwright.passes.planning import relative_error
from netwright.passes.quantize.mixed.rounded import bits_of, rounded, with_bits
from netwright.passes.quantize.weights import float_array
from netwright.passes.statistics import feeds_of, pieces
from netwright.passes.statistics.feeds import cut

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context, Feeds
    from netwright.passes.quantize.choice import Choice
    from netwright.passes.quantize.units import Unit

ROWS, PIECES = 8, 2
"""Data that units are tried on: so many rows, in so many runs."""

FISHER_ROWS = 64
"""Rows of training data whose gradients are squared, one by one."""

MOST_RUNS = 800
"""Where each unit at each number of bits would take more runs than these, each unit is tried at one, and the others follow from it: squared
errors at the outputs are, while they are small, proportional to those of the weights."""

Errors = Mapping[int, float]
"""By bits: the squared relative error at the outputs, or what stands for it."""


def measured_errors(program: Program, choices: Mapping[Unit, Choice], context: Context, *, probe: int = 4) -> dict[Unit, Errors]:
    """For each unit and number of bits, the relative squared error of the outputs when this unit alone is rounded.

    One session in which the weights are inputs; a run for each unit, number of bits and piece of data (see `MOST_RUNS`).

    Args:
        program: left as it is.
        choices: of units of the main graph.
        context: an executor, and calibration data or samples.
        probe: the bits at which units are tried where there is no time for all.

    Raises:
        ContractError: no executor, or nothing to run the program on.
    """
    executor = context.executor
    if executor is None:
        raise ContractError("Bits by site need an executor.", place="quantize", remedy="Use nw.compile, or `netwright compile`.")
    feeds = trial_feeds(program, context)
    wanted = [value.name or "" for value in program.graph.outputs if is_float(value.dtype)]
    if not feeds or not wanted:
        raise ContractError(
            "Bits by site are measured on outputs, and there is no data, or no output of floats.",
            place="quantize",
            remedy="Give calibration=, or one number of bits for all.",
        )
    weights = {weight.name or "": _stored(weight) for unit in choices for weight in unit.weights}
    goal = [executor.run(program, {**one, **weights}, wanted) for one in feeds]

    def error(changed: Mapping[str, np.ndarray]) -> float:
        return relative_error(goal, [executor.run(program, {**one, **weights, **changed}, wanted) for one in feeds])

    every = sum(len(bits_of(choice)) for choice in choices.values()) * len(feeds) <= MOST_RUNS
    found: dict[Unit, Errors] = {}
    for unit, choice in choices.items():
        tries = bits_of(choice)
        if every:
            found[unit] = {bits: error(rounded(unit, with_bits(choice, bits))) for bits in tries}
            continue
        lost = {bits: _lost(unit, rounded(unit, with_bits(choice, bits))) for bits in tries}
        at = min(tries, key=lambda bits: (abs(bits - probe), bits))
        share = error(rounded(unit, with_bits(choice, at))) / max(lost[at], 1e-30)
        found[unit] = {bits: share * lost[bits] for bits in tries}
    return found


def gradient_errors(program: Program, choices: Mapping[Unit, Choice], context: Context) -> dict[Unit, Errors]:
    """The expected change of the loss, to first order: squared gradients times squared rounding errors, Σ E[g²] (W - round W)² / 2.

    The diagonal of the empirical Fisher matrix, which stands for the Hessian in HAWQ and its kin (Dong et al., 2019). No unit is run.

    Args:
        program: left as it is.
        choices: of units.
        context: gradients, training data and a loss.

    Raises:
        ContractError: one of them is missing.
    """
    gradients, data = context.gradients, context.training
    if gradients is None or data is None:
        raise ContractError("First-order sensitivities need training data.", place="quantize", remedy="Give training=, or measure.")
    known = gradients.weights(program)
    names = [weight.name or "" for unit in choices for weight in unit.weights if weight.name in known]
    loss = context.loss if context.loss is not None else "cross_entropy"
    squares = gradients.squares(program, islice(cut(program, data, 1), FISHER_ROWS), loss, names)
    found: dict[Unit, Errors] = {}
    for unit, choice in choices.items():
        own = [weight for weight in unit.weights if weight.name in squares]
        if not own:
            raise ContractError(
                f"There is no gradient of %{unit.weights[0].name}.", place=unit.sites[0].name, remedy="Measure instead, with calibration=."
            )
        errors: dict[int, float] = {}
        for bits in bits_of(choice):
            made = rounded(unit, with_bits(choice, bits))
            errors[bits] = sum(
                0.5
                * float((squares[weight.name or ""] * np.square(made[weight.name or ""].astype(np.float64) - float_array(weight))).sum())
                for weight in own
            )
        found[unit] = errors
    return found


def trial_feeds(program: Program, context: Context) -> Sequence[Feeds]:
    """A little of the calibration data, else made-up inputs; none where neither is there."""
    if context.calibration is not None:
        return list(feeds_of(program, pieces(program, context.calibration, rows=ROWS, most=PIECES, seed=context.seed)))
    return [] if context.samples is None else list(feeds_of(program, context.samples(program)))[:PIECES]


def reachable(program: Program, unit: Unit) -> bool:
    """Whether the unit's weights can be changed from outside: those of the main graph."""
    return all(weight.graph is program.graph for weight in unit.weights)


def _stored(weight: onnx_ir.Value) -> np.ndarray:
    """In the weight's own type."""
    data = array(weight)
    return float_array(weight) if data is None else data


def _lost(unit: Unit, made: Mapping[str, np.ndarray]) -> float:
    return sum(float(np.square(made[weight.name or ""].astype(np.float64) - float_array(weight)).sum()) for weight in unit.weights)
