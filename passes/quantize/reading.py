"""A plan's decisions, read and checked against the units of a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from netwright.ir.errors import PlanError
from netwright.ir.program import Program
from netwright.passes.plan import Decision, Plan
from netwright.passes.quantize.choice import ActivationGrid, BlockWise, Choice, Dynamic, Static, read_choice, read_grid
from netwright.passes.quantize.equalizing.smoothing import SMOOTH, Smoothing, smoothings_of
from netwright.passes.quantize.planning import survey
from netwright.passes.quantize.sites import GATES
from netwright.passes.quantize.units import Unit
from netwright.passes.rewrite import Miss

ACTIVATION = "activation:"
"""What the name of an activation stands behind, as the key of its grid."""

WHOLE = "*"
"""Key of the steps that are taken on the whole program."""

STEPS = ("equalize", "correct_bias", "compensate")
"""Their names, in plans."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What is done beside sites.

    Attributes:
        equalize: ranges of neighbouring layers are made alike before.
        correct_bias: biases make up for the mean of the error afterwards.
        compensate: weights and biases of convolutions make up for the error of what is before them.
    """

    equalize: bool = False
    correct_bias: bool = False
    compensate: bool = False

    def decision(self) -> Decision:
        """The decision as it stands in a plan; empty where there is nothing to do."""
        return {key: True for key in STEPS if getattr(self, key)}


@dataclass(frozen=True, slots=True)
class Decided:
    """A plan for a program.

    Attributes:
        choices: by unit, in graph order.
        grids: of activations, by name.
        steps: beside sites.
        smoothings: of activations, by name.
        misses: of units that a plan decides in part.
    """

    choices: Mapping[Unit, Choice]
    grids: Mapping[str, ActivationGrid]
    steps: Steps = Steps()
    smoothings: Mapping[str, Smoothing] = field(default_factory=dict[str, Smoothing])
    misses: tuple[Miss, ...] = ()


def decisions_of(
    choices: Mapping[Unit, Choice], grids: Mapping[str, ActivationGrid] | None = None, steps: Steps | None = None
) -> dict[str, Decision]:
    """Choices as they stand in a plan."""
    found: dict[str, Decision] = {}
    for unit, choice in choices.items():
        found.update((site.name, _of_site(site.kind, choice).decision()) for site in unit.sites)
    found.update((f"{ACTIVATION}{name}", grid.decision()) for name, grid in (grids or {}).items())
    whole = (steps or Steps()).decision()
    return found | ({WHOLE: whole} if whole else {})


def _of_site(kind: str, choice: Choice) -> Choice:
    """What of a unit's choice concerns one of its sites: tables have no outlier channels."""
    if not isinstance(choice, Dynamic):
        return choice
    axis = "row" if kind == "table" and choice.axis == "column" else choice.axis
    return replace(choice, axis=axis, outliers=() if kind == "table" else choice.outliers)


def read(plan: Plan, program: Program) -> Decided:
    """A plan's decisions by unit.

    Args:
        plan: of this pass.
        program: for which it was made.

    Raises:
        PlanError: it names what is not there, or decides what cannot be done there.
    """
    if not plan.decisions:
        return Decided({}, {})
    units = survey(program, convolutions=True, grus=True, pairs=True).units
    grids = {
        key.removeprefix(ACTIVATION): read_grid(key, decision) for key, decision in plan.decisions.items() if key.startswith(ACTIVATION)
    }
    own = {key: decision for key, decision in plan.decisions.items() if key != WHOLE and not key.startswith((ACTIVATION, SMOOTH))}
    _check_known(own, units)
    _check_activations(grids, program)
    by_site = {site: read_choice(site, decision) for site, decision in own.items()}
    choices: dict[Unit, Choice] = {}
    misses: list[Miss] = []
    for unit in units:
        decided = [by_site[site.name] for site in unit.sites if site.name in by_site]
        if len(decided) == len(unit.sites):
            choices[unit] = _together(unit, decided)
        elif decided:
            left_out = next(site.name for site in unit.sites if site.name not in by_site)
            reason = f"left float: it shares %{unit.weights[0].name} with %{left_out}, which the plan leaves out"
            misses.extend(Miss(reason, site.name) for site in unit.sites if site.name in by_site)
    return Decided(choices, grids, _steps(plan.decisions.get(WHOLE, {})), smoothings_of(plan.decisions), tuple(misses))


def _check_known(own: Mapping[str, Decision], units: Sequence[Unit]) -> None:
    known = {site.name for unit in units for site in unit.sites}
    missing = [site for site in own if site not in known]
    if missing:
        shown = ", ".join(f"%{site}" for site in missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise PlanError(
            f"The plan decides on {shown}, where this program has nothing to quantize.",
            place=missing[0],
            remedy="Remove those sites from the plan, or make it again with --save-plans.",
        )


def _check_activations(grids: Mapping[str, ActivationGrid], program: Program) -> None:
    known = {value.name for node in program.nodes() for value in node.outputs} | {value.name for value in program.inputs}
    missing = next((name for name in grids if name not in known), None)
    if missing is not None:
        raise PlanError(
            f"The plan has a grid for %{missing}, which this program does not have.",
            place=missing,
            remedy="Remove it from the plan, or make the plan again with --save-plans.",
        )


def _steps(decision: Decision) -> Steps:
    unknown = [key for key in decision if key not in STEPS]
    if unknown or any(not isinstance(value, bool) for value in decision.values()):
        raise PlanError(
            f"The plan's steps for the whole program are {dict(decision)!r}.",
            place=WHOLE,
            remedy=f"Steps: {', '.join(map(repr, STEPS))}, each true or false.",
        )
    return Steps(**{key: bool(decision.get(key, False)) for key in STEPS})


def _together(unit: Unit, choices: Sequence[Choice]) -> Choice:
    """The one choice that sites sharing weights agree on.

    Raises:
        PlanError: they do not agree, or the scheme is none for sites of this kind.
    """
    first, site = choices[0], unit.sites[0]
    kinds = {one.kind for one in unit.sites}
    if isinstance(first, BlockWise):
        if not kinds.isdisjoint({*GATES, "pair"}) or any(choice != first for choice in choices):
            raise _discord(
                unit, "Give all of them the same decision; an LSTM or GRU takes 'dynamic', a product of two activations 'static'."
            )
        return first
    if isinstance(first, Static):
        if not kinds <= {"linear", "conv", "pair"} or any(choice != first for choice in choices):
            raise _discord(unit, "Give all of them the same decision; tables, LSTMs and GRUs take 'dynamic'.")
        return first
    if "conv" in kinds:
        raise PlanError(f"%{site.name} is a convolution.", place=site.name, remedy="Convolutions take 'static' or 'weights'.")
    if "pair" in kinds:
        raise PlanError(f"%{site.name} is a product of two activations.", place=site.name, remedy="They take 'static'.")
    dynamic = [choice for choice in choices if isinstance(choice, Dynamic)]
    shared = next((choice for choice, one in zip(dynamic, unit.sites, strict=False) if one.kind != "table"), first)
    alike = all(
        replace(choice, axis=shared.axis, outliers=shared.outliers) == shared and (choice.axis == "tensor") == (shared.axis == "tensor")
        for choice in dynamic
    )
    same_outliers = all(
        choice.outliers == (() if one.kind == "table" else shared.outliers) for choice, one in zip(dynamic, unit.sites, strict=False)
    )
    fits = all(channel < unit.sites[0].rows for channel, _ in shared.outliers) and not (unit.tables and shared.outliers)
    if len(dynamic) != len(choices) or not alike or not same_outliers or not fits:
        raise _discord(unit, "Give all of them the same decision.")
    return shared


def _discord(unit: Unit, remedy: str) -> PlanError:
    names = ", ".join(f"%{site.name}" for site in unit.sites[:5])
    place = unit.sites[0].name
    return PlanError(f"The plan's decisions do not fit {names}, which read one weight or are of another kind.", place=place, remedy=remedy)
