"""How the learning rate goes from the first step to the last: pure functions of the step, so there is no state to save."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

ScheduleLike: TypeAlias = str | Callable[[int, int], float]
"""A name in `SCHEDULES`, or a function from (step, how many steps there are) to a factor of the learning rate."""

SCHEDULES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "constant": lambda share: 1.0,
        "linear": lambda share: 1.0 - share,
        "cosine": lambda share: 0.5 * (1.0 + math.cos(math.pi * share)),
    }
)
"""By name: from the share of the steps after warmup that are done (0 to 1) to a factor. `linear` and `cosine` end at zero."""


def learning_factor(schedule: ScheduleLike, step: int, total: int, warmup: float) -> float:
    """The factor of the learning rate at one step.

    In warmup it grows by equal parts, from 1 / steps of warmup to 1; then the schedule takes over.

    Args:
        schedule: see `ScheduleLike`; one that is a function does its own warmup.
        step: from 0.
        total: how many steps there are.
        warmup: below 1 a share of all steps, else a number of steps.
    """
    if not isinstance(schedule, str):
        return schedule(step, total)
    warm = warmup_steps(total, warmup)
    if step < warm:
        return (step + 1) / warm
    return SCHEDULES[schedule](min(1.0, (step - warm) / max(1, total - warm)))


def warmup_steps(total: int, warmup: float) -> int:
    """How many steps of warmup there are; never all."""
    wanted = round(total * warmup) if warmup < 1 else int(warmup)
    return min(wanted, max(0, total - 1))
