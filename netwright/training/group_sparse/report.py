"""How many units of each group of a program are zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netwright.ir.coupling import Group
from netwright.ir.program import Program
from netwright.passes.context import Context
from netwright.passes.prune.importance import Evidence


@dataclass(frozen=True, slots=True)
class ZeroUnits:
    """Of one group.

    Attributes:
        group: its name.
        kind: what its units are.
        size: how many there are.
        zero: the numbers of those whose producing slices are all zero.
    """

    group: str
    kind: str
    size: int
    zero: tuple[int, ...]

    def __str__(self) -> str:
        """`%conv 12 of 32 channels`."""
        kind = "head features" if self.kind == "head_dim" else "hidden units" if self.kind == "hidden" else self.kind
        return f"%{self.group} {len(self.zero)} of {self.size} {kind}"


def zero_units(program: Program, groups: Sequence[Group]) -> tuple[ZeroUnits, ...]:
    """The zero units of groups of a program: those that `prune(threshold=0)` removes, where they can go."""
    evidence = Evidence(program, Context(), groups)
    return tuple(
        ZeroUnits(group.name, group.kind, group.size, tuple(int(unit) for unit in np.flatnonzero(~evidence.alive(group))))
        for group in groups
    )
