"""Removals as a plan's decisions, `{group: {"kind", "units", "remove"}}`, and back, checked."""

from __future__ import annotations

from collections.abc import Mapping

from netwright.ir.coupling.group import Coupling, Group
from netwright.ir.errors import PlanError
from netwright.passes.plan import Decision, Plan
from netwright.passes.prune.planning.removal import Removal

_KEYS = ("kind", "units", "remove")


def decide(coupling: Coupling, removal: Removal) -> dict[str, Decision]:
    """The decisions of a removal, in graph order."""
    return {
        group.name: {"kind": group.kind, "units": group.size, "remove": list(removal[group.name])}
        for group in coupling.groups
        if removal.get(group.name)
    }


def read_decisions(plan: Plan, coupling: Coupling) -> dict[str, tuple[int, ...]]:
    """Check a plan's decisions against a program's groups; entries that remove nothing are left out.

    Raises:
        PlanError: an unknown or frozen group, one of another kind or size, units that are not there or twice, or all of them.
    """
    groups = {group.name: group for group in coupling.groups}
    removal: dict[str, tuple[int, ...]] = {}
    for name, decision in plan.decisions.items():
        group = groups.get(name)
        if group is None:
            raise PlanError(
                f"The plan decides on the group %{name}, which this program does not have.",
                place=name,
                remedy="`netwright inspect --by group` lists the groups; or make the plan again with --save-plans.",
            )
        units = _read(group, decision)
        if units:
            removal[name] = units
    return removal


def _read(group: Group, decision: Mapping[str, object]) -> tuple[int, ...]:
    unknown = [key for key in decision if key not in _KEYS]
    if unknown or "remove" not in decision:
        wrong = f"unknown keys: {', '.join(unknown)}" if unknown else "no 'remove'"
        raise PlanError(f"The plan's decision for %{group.name} has {wrong}.", place=group.name, remedy=f"Its keys: {', '.join(_KEYS)}.")
    for key, actual in (("kind", group.kind), ("units", group.size)):
        if key in decision and decision[key] != actual:
            raise PlanError(
                f"The plan says that %{group.name} has {key} {decision[key]!r}; here it is {actual!r}.",
                place=group.name,
                remedy="Make the plan again for this program.",
            )
    if group.frozen and decision["remove"]:
        raise PlanError(f"No unit of %{group.name} can go: {group.frozen}.", place=group.name, remedy="Take it out of the plan.")
    return _units(group, decision["remove"])


def _units(group: Group, listed: object) -> tuple[int, ...]:
    if not isinstance(listed, list) or not all(isinstance(unit, int) and not isinstance(unit, bool) for unit in listed):  # pyright: ignore[reportUnknownVariableType]
        raise PlanError("'remove' is a list of unit numbers.", place=group.name, remedy='Write "remove": [0, 3, 17].')
    units: list[int] = listed  # pyright: ignore[reportUnknownVariableType]
    wrong = [unit for unit in units if not 0 <= unit < group.size]
    if wrong:
        raise PlanError(
            f"The plan removes unit {wrong[0]} of %{group.name}, which has units 0 to {group.size - 1}.",
            place=group.name,
            remedy="Number units from 0.",
        )
    fixed = [unit for unit in units if not group.removable[unit]]
    if fixed:
        raise PlanError(
            f"Unit {fixed[0]} of %{group.name} cannot go: it meets an input or output of the model.",
            place=group.name,
            remedy=f"{int(group.removable.sum())} of its {group.size} units can.",
        )
    if len(set(units)) < len(units):
        twice = next(unit for position, unit in enumerate(units) if unit in units[:position])
        raise PlanError(f"The plan removes unit {twice} of %{group.name} twice.", place=group.name, remedy="Name each unit once.")
    if len(units) == group.size:
        raise PlanError(f"The plan removes all {group.size} units of %{group.name}.", place=group.name, remedy="Leave at least one.")
    return tuple(sorted(units))
