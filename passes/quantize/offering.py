"""What each unit may become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from netwright.ir.errors import ContractError, DataError, RunError
from netwright.passes.quantize.attention import why_vector
from netwright.passes.quantize.choice import Dynamic, Static
from netwright.passes.quantize.draft import Draft
from netwright.passes.quantize.planning import (
    block_choice,
    dynamic_choice,
    excluded,
    find_outliers,
    in_arrays,
    not_finite,
    probe_feeds,
    slow_gru,
    spectral,
    survey,
    too_small,
    too_steep,
    weight_bits,
)
from netwright.passes.quantize.recurrent.trial import LstmTrial, lstm_trials
from netwright.passes.quantize.static.strides import stride_of
from netwright.passes.quantize.thresholds import LSTM_ERROR

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.quantize.quantize import Quantize
    from netwright.passes.quantize.units import Unit


def has_data(options: Quantize, context: Context) -> bool:
    """True where grids of activations can be had."""
    return options.statistics is not None or (context.calibration is not None and context.executor is not None)


def offer(options: Quantize, program: Program, context: Context, draft: Draft) -> None:
    """What each unit may become."""
    data = has_data(options, context)
    if options.scheme == "static" and not data:
        raise ContractError(
            "Static quantization needs calibration data, or statistics of it.",
            place="quantize(scheme='static')",
            remedy="Give calibration=… (on the command line, --calibration), or statistics='stats.npz' from `netwright calibrate`.",
        )
    convolutions = options.scheme in ("static", "weights") or (options.scheme == "auto" and data)
    smaller = options.tune is not None or "bytes" in (options.budget or {})
    written = data and in_arrays(context) and options.scheme in ("static", "auto")
    found = survey(program, convolutions=convolutions, grus=options.scheme != "weights", pairs=written)
    draft.misses.extend(found.misses)
    units: list[Unit] = []
    for unit in found.units:
        reason = excluded(unit, options.exclude) or _too_small(options, unit, context) or not_finite(unit)
        reason = reason or (None if smaller else slow_gru(unit)) or (None if options.tune is not None else spectral(unit))
        pair = unit.sites[0].kind == "pair"
        reason = reason or (why_vector(options.attention, unit.sites[0].node, program, context) if pair else None)
        if reason is None:
            (draft.pairs if pair else units).append(unit)
        else:
            draft.miss(unit, reason)
    if options.scheme == "weights":
        for unit in units:
            choice = block_choice(
                unit, options.bits, options.block_size or (32 if options.bits == 4 else 128), options.symmetric, options.rounding
            )
            if isinstance(choice, str):
                draft.miss(unit, choice)
            else:
                draft.options[unit] = (choice,)
        return
    _offer_integers(options, program, context, draft, units)
    if options.scheme == "auto":
        draft.notes.append(_auto_note(units, data=data, arrays=in_arrays(context)))


def _too_small(options: Quantize, unit: Unit, context: Context) -> str | None:
    """The reason, where integers would gain nothing; where timings decide, or arrays take what is static, of tables alone."""
    return None if (options.tune is not None or in_arrays(context)) and not unit.tables else too_small(unit)


def _auto_note(units: Sequence[Unit], *, data: bool, arrays: bool) -> str:
    if not data:
        return "scheme 'auto' chose dynamic: no calibration data was given" + (", and arrays take only static integers" if arrays else "")
    if arrays:
        return "scheme 'auto' chose static: the target's arrays take nothing else"
    kinds = {site.kind for unit in units for site in unit.sites}
    return "scheme 'auto' chose static for convolutions and dynamic for the rest" if "conv" in kinds else "scheme 'auto' chose dynamic"


def _offer_integers(options: Quantize, program: Program, context: Context, draft: Draft, units: Sequence[Unit]) -> None:
    data = has_data(options, context)
    bits = min(weight_bits(context), options.bits)
    moving = [unit for unit in units if unit.sites[0].kind != "conv"]
    outliers, trials = _look(options, program, context, draft, moving, bits)
    static = Static(bits, "column" if options.per_channel else "tensor", options.rounding)
    for unit in units:
        site = unit.sites[0]
        if site.kind == "conv":
            folds = len(unit.sites) == 1 and not (options.trainable or in_arrays(context)) and not isinstance(stride_of(site), str)
            draft.options[unit] = (replace(static, fold_stride=True), static) if folds else (static,)
            continue
        if site.kind in ("lstm", "gru") and in_arrays(context):
            draft.miss(unit, "left float: arrays multiply, they do not recur; `unroll` before quantize makes products of its steps")
            continue
        trial = trials.get(unit)
        reason = _poor(trial) if trial is not None else too_steep(unit)
        if reason is not None:
            draft.miss(unit, reason)
            continue
        own = trial.outliers if trial is not None else outliers.get(unit, ())
        dynamic = dynamic_choice(
            unit, bits, options, own, trial.chunks if trial is not None else 1, trial.states if trial is not None else "column"
        )
        if site.kind == "lstm" and options.tune is not None and dynamic.axis == "column":
            draft.options[unit] = (dynamic, replace(dynamic, states="tensor"), replace(dynamic, axis="tensor", states="tensor"))
        elif site.kind != "linear" or unit.tables:
            draft.options[unit] = (dynamic,)
        elif options.scheme == "static" or (options.scheme == "auto" and data and in_arrays(context)):
            draft.options[unit] = (static,)
        elif options.tune is not None and options.scheme == "auto":
            blocks = block_choice(unit, 8, options.block_size or 128, options.symmetric, options.rounding)
            rest = () if isinstance(blocks, str) else (blocks,)
            draft.options[unit] = (dynamic, *((static,) if data else ()), *rest)
        else:
            draft.options[unit] = (dynamic,)


def _poor(trial: LstmTrial) -> str | None:
    if trial.error <= LSTM_ERROR:
        return None
    return f"left float: as int8 its outputs are off by {trial.error:.2f} of their norm, more than {LSTM_ERROR}"


def _look(
    options: Quantize, program: Program, context: Context, draft: Draft, units: Sequence[Unit], bits: int
) -> tuple[Mapping[Unit, tuple[tuple[int, int], ...]], Mapping[Unit, LstmTrial]]:
    """Outlier channels of products and trials of LSTMs, where the program can be run; a note where it cannot."""
    dynamic = [unit for unit in units if options.scheme != "static" or unit.sites[0].kind != "linear"]
    try:
        feeds = probe_feeds(program, context)
        if context.executor is None or not feeds:
            return {}, {}
        return (
            find_outliers(program, context.executor, feeds, dynamic),
            lstm_trials(program, context.executor, feeds[:2], dynamic, Dynamic(bits)),
        )
    except (DataError, RunError) as error:
        if context.calibration is not None:
            raise
        draft.notes.append(f"outlier channels were not looked for, since the model runs on no made-up inputs: {error.message}")
        return {}, {}
