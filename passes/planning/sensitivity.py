"""How far a changed program's outputs are from what they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from netwright.passes.context import Feeds


def relative_error(goal: Sequence[Feeds], made: Sequence[Feeds]) -> float:
    """Mean over outputs of the squared error over what varies of each; infinite where an output is no longer finite.

    Args:
        goal: outputs of each run, by name.
        made: the same, of the changed program.
    """
    shares: list[float] = []
    for name in goal[0]:
        lost = sum(float(np.square(np.asarray(b[name], np.float64) - a[name]).sum()) for a, b in zip(goal, made, strict=True))
        whole = np.concatenate([np.asarray(a[name], np.float64).reshape(-1) for a in goal])
        shares.append(lost / max(float(np.square(whole - whole.mean()).sum()), 1e-30))
    found = float(np.mean(shares)) if shares else 0.0
    return found if np.isfinite(found) else float("inf")
