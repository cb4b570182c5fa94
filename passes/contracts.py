"""Contracts between passes, checked before anything runs: what is missing is said at once and not after an hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from netwright.ir.errors import ContractError
from netwright.ir.program import Program
from netwright.passes.base import Pass, PlannedPass
from netwright.passes.context import Context

_REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "budget": "Give budget=… (on the command line, --budget), or tell the pass how much, as in prune(ratio=0.5).",
        "executor": "Use `netwright compile` or nw.compile, which run models.",
        "gradients": "Use `netwright compile` or nw.compile, which bring torch.",
        "timer": "Use `netwright compile` or nw.compile, which run models.",
    }
)
"""Where the usual remedy does not do."""


def check_contracts(passes: Sequence[Pass], program: Program, context: Context) -> None:
    """Refuse a pipeline whose order cannot work, or whose data is not there.

    Raises:
        ContractError: a pass requires a property that the program lacks or an earlier pass breaks, or needs data, a
            metric or a target that was not given.
        NetwrightError: an option is missing that has no default.
    """
    properties = set(program.properties)
    broken_by: dict[str, str] = {}
    for position, current in enumerate(passes):
        place = f"pass {position}: {current}"
        current.check()
        for wanted in sorted(current.requires - properties):
            blame = f", which {broken_by[wanted]} breaks" if wanted in broken_by else ""
            raise ContractError(
                f"{current.name} requires a program that is {wanted}{blame}.",
                place=place,
                remedy="Move it to an earlier place in the pipeline.",
            )
        for need in sorted(_needs(current, context)):
            if not context.has(need):
                raise ContractError(
                    f"{current.name} needs {need}, and none was given.",
                    place=place,
                    remedy=_REMEDIES.get(need, f"Give {need}=… (on the command line, --{need})."),
                )
        properties = (properties - current.breaks) | current.provides
        broken_by.update(dict.fromkeys(current.breaks, current.name))


def _needs(current: Pass, context: Context) -> frozenset[str]:
    """What a pass needs; where its plan is given, only what carrying it out takes."""
    if isinstance(current, PlannedPass) and (current.plan is not None or current.name in context.plans):
        return current.needs_with_plan()
    return current.needs()
