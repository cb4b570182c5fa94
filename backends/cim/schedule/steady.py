"""From one sample to the next: samples through the event loop until their ends come at a steady distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netwright.backends.cim.schedule.engine import Run, simulate
from netwright.backends.cim.schedule.jobs import Job
from netwright.backends.cim.schedule.plan import Plan

CLOSE = 0.005
"""Mean distances that differ by less, as a share, are the same."""
MOST, FEWEST, ROWS = 32, 9, 6_000_000
"""Samples that are run at most: as many as make so many rows, within these bounds; thrice `MOST` where buffers have room for as many."""


@dataclass(frozen=True, slots=True)
class Steady:
    """How samples follow each other.

    Attributes:
        interval_ns: mean distance of their ends.
        samples: that were run for it.
        steady: whether the distance was steady; else it is the mean over the middle half of the samples, or from the first on that
            finds all buffers in use.
    """

    interval_ns: float
    samples: int
    steady: bool


def follow(jobs: Sequence[Job], plan: Plan, alone: Run) -> Steady:
    """Run samples behind each other, as close as they come.

    The distance is steady when the last n samples (n: two, or any number beyond) ended at a mean distance that is that of the n before
    them to half a percent, and not below what the busiest resource works for each; and when the same holds of n that ended one sample
    before, two before, up to n - 1. Where a buffer has room for m samples, they may come in bursts of m, the first of which finds it
    empty: so many distances are looked at, at least. No resource can work longer for each sample than the interval; and a sample that
    waits for the end of the one before comes no later than one alone takes: between these two it is.

    Args:
        jobs: of all samples.
        plan: what they do.
        alone: one sample's run.
    """
    latency, busiest = alone.ends[0] if alone.ends else 0.0, max(alone.busy, default=0.0)
    if latency <= 0.0:
        return Steady(0.0, 1, steady=True)
    burst = max((lag for job in jobs for _, lag in job.again), default=1)
    most = min(max(ROWS // max(alone.rows, 1), FEWEST), max(MOST, 3 * min(burst, MOST)))
    run = simulate(jobs, plan, samples=most, close=CLOSE, least=busiest, fewest=max(2, burst // 3 + 1))
    ends = run.ends
    if run.steady:
        found = (ends[-1] - ends[-1 - run.steady]) / run.steady
    else:
        first, last = max(most // 4, min(burst, most // 2)), most - most // 4
        found = (ends[last] - ends[first]) / (last - first)
    return Steady(min(max(found, busiest), latency), len(ends), bool(run.steady))
