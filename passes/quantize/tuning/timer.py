"""Timing programs against each other, and what the turns say."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Feeds


@runtime_checkable
class TurnTimer(Protocol):
    """Times several programs in turns, A B A B …, so that a slow moment of the machine hits all alike."""

    def turns(self, programs: Sequence[Program], feeds: Sequence[Feeds], *, rounds: int, seconds: float) -> list[list[float]]:
        """Milliseconds of each program on its own feeds, turn by turn: the best run of each turn.

        Args:
            programs: what to time.
            feeds: one set for each.
            rounds: most turns of each.
            seconds: stop after the round that passes this budget; one round is always made.
        """
        ...


@runtime_checkable
class Machine(Protocol):
    """A target that can say what timings on it hold for."""

    @property
    def machine(self) -> str:
        """Runtime, version, processor, threads."""
        ...


def ratio(own: Sequence[float], first: Sequence[float]) -> float:
    """Time over that of the first program: the larger of the ratio of the best turns and of the median over turns.

    Both must be low for a program to count as faster; where the machine is busy, either alone is low by chance now and then.
    """
    by_turn = median(mine / other for mine, other in zip(own, first, strict=True))
    return max(min(own) / min(first), by_turn)
