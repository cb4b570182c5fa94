"""What is to be removed, by group, before it becomes a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from netwright.ir.coupling.group import Group

Removal = Mapping[str, tuple[int, ...]]
"""Unit numbers in ascending order, by group name; groups that stay whole are left out."""


def lowest(scores: np.ndarray, able: np.ndarray, count: int) -> tuple[int, ...]:
    """The `count` units of the lowest scores among those in `able`, of equal ones those of higher numbers; in ascending order."""
    order = able[np.lexsort((-able, scores[able]))]
    return tuple(sorted(int(unit) for unit in order[:count]))


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
