"""What is to be removed, by group, before it becomes a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from netwright.ir.coupling.group import Group

Removal = Mapping[str, tuple[int, ...]]
"""Unit numbers in ascending order, by group name; groups that stay whole are left out."""


def lowest(group: Group, scores: np.ndarray, count: int) -> tuple[int, ...]:
    """The `count` units of the lowest scores among those that can go, in ascending order.

    Of equal ones, those of higher numbers. The last unit of a part that must keep one stays, so that there may be fewer.
    """
    able = np.flatnonzero(group.removable)
    order = able[np.lexsort((-able, scores[able]))]
    left = [len(part) for part in group.parts]
    within = [np.isin(np.arange(group.size), part) for part in group.parts]
    chosen: list[int] = []
    for unit in order:
        if len(chosen) == count:
            break
        mine = [position for position, inside in enumerate(within) if inside[unit]]
        if all(left[position] > 1 for position in mine):
            chosen.append(int(unit))
            for position in mine:
                left[position] -= 1
    return tuple(sorted(chosen))


def summary(groups: Iterable[Group], removal: Removal) -> str:
    """`512 of 1,024 channels in 12 groups, 24 of 48 heads in 4 groups`; the groups are those that had a say."""
    parts: list[str] = []
    by_kind: dict[str, list[Group]] = {}
    for group in groups:
        by_kind.setdefault(group.kind, []).append(group)
    for kind, members in by_kind.items():
        gone = sum(len(removal.get(group.name, ())) for group in members)
        touched = sum(group.name in removal for group in members)
        units = "head features" if kind == "head_dim" else "hidden units" if kind == "hidden" else kind
        parts.append(f"{gone:,} of {sum(group.size for group in members):,} {units} in {_counted(touched, len(members))}")
    return ", ".join(parts) or "no group"


def _counted(touched: int, total: int) -> str:
    return f"{total} group{'s' if total != 1 else ''}" if touched == total else f"{touched} of {total} groups"
