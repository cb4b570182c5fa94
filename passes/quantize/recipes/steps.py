"""What a recipe tries: each step makes candidates of a plan that differ in one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netwright.passes.plan import Decision, Plan
from netwright.passes.quantize.choice import ActivationGrid
from netwright.passes.quantize.equalizing.finding import Scales, Search, find_scales
from netwright.passes.quantize.equalizing.groups import Group, find_groups
from netwright.passes.quantize.equalizing.smoothing import SMOOTH
from netwright.passes.quantize.equalizing.sources import parts_of
from netwright.passes.quantize.reading import ACTIVATION, WHOLE

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context, Feeds

Grids = Callable[[str | None, bool], Mapping[str, ActivationGrid]]
"""The grids of a plan's activations by a method of calibration (None for the usual one), of the program as it is or equalized."""

ROUNDED = frozenset({"dynamic", "static", "weights"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan to be tried.

    Attributes:
        label: what is new in it, for the report.
        plan: it.
    """

    label: str
    plan: Plan


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What steps work with.

    Attributes:
        program: float.
        context: data that may be fitted to.
        feeds: a few batches of it.
        grids: see `Grids`; None where no activation has a grid.
    """

    program: Program
    context: Context
    feeds: Sequence[Feeds]
    grids: Grids | None = None


Step = Callable[[Plan, Material], Iterator[Candidate]]


def smoothing(alphas: Sequence[float | None]) -> Step:
    """Activations of dynamic products scaled channel by channel: by the form that is best for each, or by one alpha for all."""

    def candidates(plan: Plan, material: Material) -> Iterator[Candidate]:
        for alpha in alphas:
            found = _smoothed(plan, material, alpha)
            if found is not None:
                form = "each in its best form" if alpha is None else f"alpha {alpha:g}"
                yield Candidate(f"activations smoothed ({form})", found)

    return candidates


def _smoothed(plan: Plan, material: Material, alpha: float | None) -> Plan | None:
    """None where nothing is dynamic, or nothing gains."""
    dynamic = {site for site, decision in plan.decisions.items() if decision.get("scheme") == "dynamic"}
    executor = material.context.executor
    assert executor is not None, "recipes are asked for with data"
    groups = [group for group in find_groups(material.program) if isinstance(group, Group)]
    whole = [group for group in groups if all(reader.name in dynamic for reader in group.readers)]
    chosen = frozenset(reader.name for group in whole for reader in group.readers)
    if not chosen:
        return None
    bits = min(_bits(plan.decisions[name]) for name in chosen)
    found = find_scales(material.program, executor, material.feeds, Search(alpha=alpha, bits=bits, only=chosen), material.context.seed)
    decisions = dict(plan.decisions)
    for group in whole:
        if group.name in found.smoothings:
            _smooth(decisions, group, found)
    return replace(plan, decisions=decisions) if found.smoothings else None


def _smooth(decisions: dict[str, Decision], group: Group, found: Scales) -> None:
    """Into what makes the activation where that costs nothing, else with the step of the integers, where outlier channels were."""
    chosen = found.smoothings[group.name]
    inside = parts_of(group) is None and all(reader.node.op_type in ("MatMul", "Gemm") for reader in group.readers)
    least = min(chosen.exponents)
    pairs = [[channel, 2 ** (one - least)] for channel, one in enumerate(chosen.exponents) if one > least]
    for reader in group.readers:
        decision = {key: value for key, value in decisions[reader.name].items() if key != "outliers"}
        decisions[reader.name] = {**decision, "outliers": pairs} if inside else decision  # pyright: ignore[reportArgumentType]
    if not inside:
        decisions[f"{SMOOTH}{group.name}"] = chosen.decision()


def _bits(decision: Decision) -> int:
    found = decision.get("bits", 8)
    return found if isinstance(found, int) else 8


def rounding(methods: Sequence[str]) -> Step:
    """Weights rounded so that outputs on data change least."""

    def candidates(plan: Plan, material: Material) -> Iterator[Candidate]:
        del material
        for method in methods:
            decisions = {
                site: {**decision, "rounding": method} if _rounds(site, decision) else decision for site, decision in plan.decisions.items()
            }
            if decisions != dict(plan.decisions):
                yield Candidate(f"weights rounded by {method}", replace(plan, decisions=decisions))

    return candidates


def _rounds(site: str, decision: Decision) -> bool:
    """True of sites whose rounding can learn from data: not of tables, nor of what is no site."""
    special = site == WHOLE or site.startswith((ACTIVATION, SMOOTH))
    return not special and decision.get("scheme") in ROUNDED and decision.get("axis") != "row"


def ranges(methods: Sequence[str]) -> Step:
    """Grids of activations by other methods of calibration."""

    def candidates(plan: Plan, material: Material) -> Iterator[Candidate]:
        if material.grids is None or not any(site.startswith(ACTIVATION) for site in plan.decisions):
            return
        for method in methods:
            own = _regridded(plan, material.grids(method, bool(plan.decisions.get(WHOLE, {}).get("equalize", False))))
            if any(plan.decisions[key] != decision for key, decision in own.items()):
                yield Candidate(f"ranges by {method}", replace(plan, decisions={**plan.decisions, **own}))

    return candidates


def _regridded(plan: Plan, grids: Mapping[str, ActivationGrid]) -> dict[str, Decision]:
    return {f"{ACTIVATION}{name}": grid.decision() for name, grid in grids.items() if f"{ACTIVATION}{name}" in plan.decisions}


def equalizing(plan: Plan, material: Material) -> Iterator[Candidate]:
    """Neighbouring layers made alike; activations then range over other numbers, and get grids anew."""
    if not plan.decisions or plan.decisions.get(WHOLE, {}).get("equalize", False):
        return
    own = {} if material.grids is None else _regridded(plan, material.grids(None, True))
    steps = {**plan.decisions.get(WHOLE, {}), "equalize": True}
    yield Candidate("neighbouring layers equalized", replace(plan, decisions={**plan.decisions, **own, WHOLE: steps}))


def whole(key: str, label: str) -> Step:
    """A step on the whole program, switched on."""

    def candidates(plan: Plan, material: Material) -> Iterator[Candidate]:
        del material
        steps = plan.decisions.get(WHOLE, {})
        if plan.decisions and not steps.get(key, False):
            yield Candidate(label, replace(plan, decisions={**plan.decisions, WHOLE: {**steps, key: True}}))

    return candidates
