"""From what units take alone to what each becomes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from netwright.passes.quantize.choice import BlockWise, Choice, Dynamic, Static
from netwright.passes.quantize.thresholds import LINEAR_ELEMENTS
from netwright.passes.quantize.tuning.borders import Sides

if TYPE_CHECKING:
    from netwright.passes.quantize.tuning.measured import Form, Measured
    from netwright.passes.quantize.units import Unit

FASTER = 0.97
"""A unit alone becomes integers where it takes less than this share of the float time: timings of one program differ by some percent."""

TABLE_SHARE, OTHER_SHARE = 0.03, 0.01
"""Of the whole program's time: what a table, and what another unit, may lose as integers, which are a quarter of its bytes."""

HOPELESS = 1.3
"""What the units of a candidate must not promise to take, over those of the best, for it to be carried out and raced."""

FIRST = "each unit's first option"
"""The candidate that is always raced: what `quantize` does without measuring."""

_LEAST_SHARE = 0.2
"""Of the float program's time: what no candidate promises to go below, however noisy the times of its units."""

SCHEMES: Mapping[type[Choice], str] = {Static: "static", Dynamic: "dynamic", BlockWise: "weights"}


def scheme_of(choice: Choice) -> str:
    """The name of a choice's scheme."""
    return SCHEMES[type(choice)]


def candidates(units: Sequence[Measured], statics: Mapping[str, Collection[Unit]], whole_ms: float) -> dict[str, dict[Unit, Choice]]:
    """Whole programs worth timing, by label: one scheme for all that take it, each unit's first option, and the fastest by site.

    Those that are far behind by what their units take alone are left out, but for the first options: what units take alone leaves out what
    changing the layout between them costs.

    Args:
        units: with what was measured.
        statics: which of them pay as static, borders counted; by label of the candidate.
        whole_ms: of the float program.
    """
    found: dict[str, dict[Unit, Choice]] = {FIRST: {unit.unit: unit.open[0].choice for unit in units if unit.open}}
    tables = {unit.unit: unit.open[0].choice for unit in units if unit.unit.tables and unit.open and is_cheap(unit, unit.open[0], whole_ms)}
    for kind, name in SCHEMES.items():
        chosen = {unit.unit: form.choice for unit in units for form in unit.open[::-1] if type(form.choice) is kind}
        found[f"all {name}"] = tables | chosen if chosen else {}
    found.update((label, fastest(units, chosen, whole_ms)) for label, chosen in statics.items())
    distinct: dict[str, dict[Unit, Choice]] = {}
    for label, chosen in found.items():
        if chosen and chosen not in distinct.values():
            distinct[label] = chosen
    expected = {label: whole_ms + sum(saved(unit, chosen.get(unit.unit)) for unit in units) for label, chosen in distinct.items()}
    expected = {label: max(ms, _LEAST_SHARE * whole_ms) for label, ms in expected.items()}
    most = HOPELESS * min(expected.values(), default=0.0)
    return {label: chosen for label, chosen in distinct.items() if label in statics or label == FIRST or expected[label] <= most}


def saved(unit: Measured, choice: Choice | None) -> float:
    """How much longer a unit takes in a form than as float, alone; less than 0 where it is faster."""
    ms = next((form.ms for form in unit.forms if form.choice == choice), None)
    return 0.0 if ms is None or unit.ms is None else ms - unit.ms


def sides_of(units: Sequence[Measured]) -> list[Sides]:
    """Of the units that could be static: what that takes, and what the best of their other forms."""
    found: list[Sides] = []
    for unit in units:
        static = best_form(unit, static=True)
        if static is None or static.ms is None or unit.ms is None or unit.place is None:
            continue
        other = best_form(unit, static=False)
        found.append(Sides(unit.place, static.ms, unit.ms if other is None or other.ms is None else min(unit.ms, other.ms)))
    return found


def fastest(units: Sequence[Measured], statics: Collection[Unit], whole_ms: float) -> dict[Unit, Choice]:
    """For each unit alone the fastest option; float where none is faster. What could not be timed takes its first option."""
    chosen: dict[Unit, Choice] = {}
    for unit in units:
        first = unit.open[0] if unit.open else None
        form = first if unit.ms is None else best_form(unit, static=unit.unit in statics)
        if form is not None and (unit.unit in statics or pays(unit, form) or is_cheap(unit, form, whole_ms)):
            chosen[unit.unit] = form.choice
    return chosen


def best_form(unit: Measured, *, static: bool) -> Form | None:
    """The fastest option that was timed, static or not; of those within 2 percent of it, the one with the least error."""
    timed = [(form.ms, form) for form in unit.open if form.ms is not None and isinstance(form.choice, Static) == static]
    if not timed:
        return None
    least = min(ms for ms, _ in timed)
    return min((form for ms, form in timed if ms <= 1.02 * least), key=lambda form: form.error)


def pays(unit: Measured, form: Form) -> bool:
    """True where the form is faster than float, or nobody knows."""
    return unit.ms is None or form.ms is None or form.ms < FASTER * unit.ms


def is_cheap(unit: Measured, form: Form, whole_ms: float) -> bool:
    """True where integers lose next to no time, and save bytes worth having."""
    if unit.ms is None or form.ms is None or sum(site.elements for site in unit.unit.sites) < LINEAR_ELEMENTS.least:
        return False
    return form.ms - unit.ms < (TABLE_SHARE if unit.unit.tables else OTHER_SHARE) * whole_ms


def reason(unit: Measured, whole: Mapping[Unit, Choice]) -> str:
    """Why a unit stays float in a choice for the whole, with the numbers."""
    refusals = [f"as {scheme_of(form.choice)} {form.refusal}" for form in unit.forms if form.refusal]
    timed = [f"{scheme_of(form.choice)} {1e3 * form.ms:.3g} µs" for form in unit.open if form.ms is not None]
    if not unit.forms:
        return "left float: no scheme takes it"
    if not unit.open:
        return f"left float: {'; '.join(refusals)}"
    if unit.ms is None or not timed:
        return "left float: the program as a whole is faster without it"
    alone = f"{', '.join(timed)}, float {1e3 * unit.ms:.3g} µs"
    alone_faster = any(pays(unit, form) for form in unit.open)
    where = "the whole is faster with it float; by itself it takes" if alone_faster else "by itself it takes"
    return f"left float: {where} {'; '.join([alone, *refusals])}"
