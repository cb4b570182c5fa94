"""The pass `quantize`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from netwright.ir.errors import DataError, PipelineError, PlanError, RunError
from netwright.ir.fingerprint import fingerprint
from netwright.ir.program import Program
from netwright.passes.base import PlannedPass, Proposals
from netwright.passes.context import Context
from netwright.passes.numerics import Lossy, Numerics
from netwright.passes.plan import Decision, Plan
from netwright.passes.quantize.activations import Activations
from netwright.passes.quantize.blockwise import quantize_blocks
from netwright.passes.quantize.choice import BLOCK_SIZES, BlockWise, Choice, Dynamic, Outliers, read_choice
from netwright.passes.quantize.dynamic import quantize_dynamic
from netwright.passes.quantize.planning import (
    already_quantized,
    block_choice,
    dynamic_choice,
    excluded,
    find_outliers,
    not_finite,
    probe_feeds,
    survey,
    too_small,
    too_steep,
    weight_bits,
)
from netwright.passes.quantize.recurrent.lstm import quantize_lstm
from netwright.passes.quantize.recurrent.trial import lstm_errors
from netwright.passes.quantize.thresholds import LSTM_ERROR
from netwright.passes.quantize.units import Unit
from netwright.passes.rewrite import Miss, Rewrite

Scheme = Literal["auto", "dynamic", "weights", "static"]
SCHEMES = ("auto", "dynamic", "weights", "static")


@dataclass(frozen=True, kw_only=True)
class Quantize(PlannedPass):
    """Turn weights into integers: int8 with activations quantized as they come, or 8 or 4 bits in blocks for weights alone.

    `scheme='dynamic'` (int8): MatMul, Gemm and LSTM compute with integers, tables that Gather reads are stored as integers. Two to four
    times faster than float on processors with int8 instructions, a quarter of the bytes; needs no data. With calibration data or sample
    inputs at hand, channels whose activations are outliers are shrunk first.

    `scheme='weights'` (`bits=8` or `4`): weights are stored in blocks that share a scale, computation stays float to the outside. For
    models bound by memory: decoders, one token at a time. Needs ONNX Runtime.

    Convolutions, small layers and products of two activations stay float; each is listed as a miss with the reason. A weight with several
    readers is quantized once for all of them. A model that is already quantized is left as it is.
    """

    name: ClassVar[str] = "quantize"
    numerics: ClassVar[Numerics] = Lossy("relative output error")
    breaks: ClassVar[frozenset[str]] = frozenset({"Trainable"})
    provides: ClassVar[frozenset[str]] = frozenset({"Quantized"})
    fixpoint: ClassVar[bool] = True

    scheme: Scheme = "auto"
    """`dynamic`, `weights`, or `auto`: static with calibration data once that scheme exists, else dynamic."""
    bits: int = 8
    """Of weights: 8, or with `scheme='weights'` also 4."""
    block_size: int | None = None
    """`weights`: elements that share a scale, 16 to 256; 32 for 4 bits, 128 for 8 where not given."""
    symmetric: bool = False
    """`weights`: no zero points (a little smaller, less accurate). Dynamic weights always are symmetric."""
    per_channel: bool = True
    """`dynamic`: one scale for each output channel, else for each weight (a little faster, far less accurate)."""
    exclude: str | Sequence[str] = ()
    """Patterns (`*`, `?`) of sites or module paths that stay float."""

    def __post_init__(self) -> None:
        """Refuse options that do not go together.

        Raises:
            PipelineError: they do not.
        """
        object.__setattr__(self, "exclude", (self.exclude,) if isinstance(self.exclude, str) else tuple(self.exclude))
        if self.scheme not in SCHEMES:
            raise PipelineError(f"There is no scheme {self.scheme!r}.", place="quantize", remedy=f"Schemes: {', '.join(SCHEMES)}.")
        if self.scheme == "static":
            raise PipelineError(
                "Static quantization is not part of this version.",
                place="quantize(scheme='static')",
                remedy="Use scheme='dynamic' or 'weights'.",
            )
        allowed = (8, 4) if self.scheme == "weights" else (8,)
        if self.bits not in allowed:
            raise PipelineError(
                f"scheme='{self.scheme}' takes bits {' or '.join(map(str, allowed))}, not {self.bits!r}.",
                place="quantize",
                remedy="4 bits: scheme='weights'.",
            )
        if self.block_size is not None and self.block_size not in BLOCK_SIZES:
            raise PipelineError(f"Block sizes are {', '.join(map(str, BLOCK_SIZES))}, not {self.block_size!r}.", place="quantize")

    def make_plan(self, program: Program, context: Context) -> Plan:
        """Decide by site. Runs the program on a few batches where the context has an executor and feeds; reads each weight once."""
        before = already_quantized(program)
        if before is not None:
            return Plan(pass_name=self.name, fingerprint=fingerprint(program), decisions={}, misses=(before,), note=before.reason)
        found = survey(program)
        misses = found.misses
        chosen: list[Unit] = []
        for unit in found.units:
            reason = excluded(unit, self.exclude) or too_small(unit) or not_finite(unit) or too_steep(unit)
            if reason is None:
                chosen.append(unit)
            else:
                misses.extend(Miss(reason, site.name) for site in unit.sites)
        if self.scheme == "weights":
            decisions, note = self._weight_only(chosen, misses), ""
        else:
            decisions, note = self._dynamic(program, context, chosen, misses)
        notes = "; ".join(filter(None, (self._note(context), note)))
        return Plan(pass_name=self.name, fingerprint=fingerprint(program), decisions=decisions, misses=tuple(misses), note=notes)

    def carry_out(self, program: Program, plan: Plan) -> Proposals:
        """One rewrite for each site, or for all sites that share a weight.

        Raises:
            PlanError: the plan is for another pass or program, names sites that are not there, or decides what cannot be done there.
        """
        plan.check_fits(self.name, fingerprint(program))
        units = survey(program).units if plan.decisions else []
        choices = _read(plan, units)
        activations = Activations.of(program)
        for unit in units:
            decided = [choices[site.name] for site in unit.sites if site.name in choices]
            if not decided:
                continue
            if len(decided) < len(unit.sites):
                left_out = next(site.name for site in unit.sites if site.name not in choices)
                reason = f"left float: it shares %{unit.weights[0].name} with %{left_out}, which the plan leaves out"
                for site in unit.sites:
                    if site.name in choices:
                        yield Miss(reason, site.name)
                continue
            yield _rewrite(unit, decided, activations)

    def _dynamic(self, program: Program, context: Context, units: list[Unit], misses: list[Miss]) -> tuple[dict[str, Decision], str]:
        """The decisions, and a note where nothing could be learnt from running the program."""
        bits, note = weight_bits(context), ""
        outliers: dict[Unit, Outliers] = {}
        errors: dict[Unit, float] = {}
        try:
            feeds = probe_feeds(program, context)
            if context.executor is not None and feeds:
                outliers = find_outliers(program, context.executor, feeds, units)
                errors = lstm_errors(program, context.executor, feeds[:2], units, Dynamic(bits))
        except (DataError, RunError) as error:
            if context.calibration is not None:
                raise
            note = f"outlier channels were not looked for, since the model runs on no made-up inputs: {error.message}"
        decisions: dict[str, Decision] = {}
        for unit in units:
            if errors.get(unit, 0.0) > LSTM_ERROR:
                reason = f"left float: as int8 its outputs are off by {errors[unit]:.2f} of their norm, more than {LSTM_ERROR}"
                misses.extend(Miss(reason, site.name) for site in unit.sites)
                continue
            for site in unit.sites:
                decisions[site.name] = dynamic_choice(unit, site, bits, self.per_channel, outliers.get(unit, ())).decision()
        return decisions, note

    def _weight_only(self, units: list[Unit], misses: list[Miss]) -> dict[str, Decision]:
        decisions: dict[str, Decision] = {}
        for unit in units:
            choice = block_choice(unit, self.bits, self.block_size or (32 if self.bits == 4 else 128), self.symmetric)
            if isinstance(choice, str):
                misses.extend(Miss(choice, site.name) for site in unit.sites)
            else:
                decisions.update((site.name, choice.decision()) for site in unit.sites)
        return decisions

    def _note(self, context: Context) -> str:
        if self.scheme != "auto":
            return ""
        if context.calibration is None:
            return "scheme 'auto' chose dynamic: no calibration data was given"
        return "scheme 'auto' chose dynamic: calibration data was given, but static quantization is not part of this version"


def _read(plan: Plan, units: list[Unit]) -> dict[str, Choice]:
    known = {site.name for unit in units for site in unit.sites}
    missing = [site for site in plan.decisions if site not in known]
    if missing:
        shown = ", ".join(f"%{site}" for site in missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise PlanError(
            f"The plan decides on {shown}, where this program has nothing to quantize.",
            place=missing[0],
            remedy="Remove those sites from the plan, or make it again with --save-plans.",
        )
    return {site: read_choice(site, decision) for site, decision in plan.decisions.items()}


def _rewrite(unit: Unit, choices: list[Choice], activations: Activations) -> Rewrite:
    first, site = choices[0], unit.sites[0]
    if isinstance(first, BlockWise):
        if site.kind == "lstm" or any(choice != first for choice in choices):
            raise PlanError(_together(unit), place=site.name, remedy="Give all of them the same decision; an LSTM takes 'dynamic'.")
        why = f"{first.bits}-bit weights in blocks of {first.block_size}"
        return Rewrite.edit(site.name, why, lambda editor: quantize_blocks(editor, unit, first), anchor=site.node)
    dynamic = [choice for choice in choices if isinstance(choice, Dynamic)]
    shared = next((choice for choice, site in zip(dynamic, unit.sites, strict=False) if site.kind == "linear"), first)
    alike = all((choice.bits, choice.axis == "tensor") == (shared.bits, shared.axis == "tensor") for choice in dynamic)
    same_outliers = all(
        choice.outliers == (shared.outliers if site.kind == "linear" else ()) for choice, site in zip(dynamic, unit.sites, strict=False)
    )
    fits = all(channel < unit.sites[0].rows for channel, _ in shared.outliers) and not (unit.tables and shared.outliers)
    if len(dynamic) != len(choices) or not alike or not same_outliers or not fits:
        raise PlanError(_together(unit), place=site.name, remedy="Give all of them the same decision.")
    why = f"int8 weights by {shared.axis}, activations quantized as they come"
    if site.kind == "lstm":
        return Rewrite.edit(site.name, why, lambda editor: quantize_lstm(editor, unit, shared), anchor=site.node)
    return Rewrite.edit(site.name, why, lambda editor: quantize_dynamic(editor, unit, shared, activations), anchor=site.node)


def _together(unit: Unit) -> str:
    names = ", ".join(f"%{site.name}" for site in unit.sites[:5])
    return f"The plan's decisions do not fit {names}, which read one weight or are of another kind."
