"""The event simulation: every row of every job in time, every resource one thing at a time, first come first served.

A row of a product or of a vector unit holds its unit; reading and writing overlap with that and hold the memory's ports; the row is there
when the last of the three is over, and the next may start. A message's head goes from link to link (reader's port, links, writer's
port), each of which it holds for its whole length; it is written when its tail has come. Rows to and from outer memory hold that
memory's port besides. A job whose rows go over the network starts the next row when the one before has left.

Samples follow each other as closely as they can: a job begins with the next sample when it is done with one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import numpy as np

from netwright.backends.cim.schedule.compiled import compiled, plainly
from netwright.backends.cim.schedule.flat import flat_of, listed
from netwright.backends.cim.schedule.jobs import Job
from netwright.backends.cim.schedule.plan import Plan
from netwright.ir.errors import RunError

COMPILED_ROWS = 50_000
"""From so many rows of a sample on machine code pays, its first compilation included."""

_SHOWN = 5


@dataclass(slots=True)
class Run:
    """What a simulation found, by job and by resource.

    Attributes:
        start: time of the first row's start.
        end: time of the last row's end.
        busy: time that each resource was at work.
        waited: time that rows waited for links and ports.
        rows: rows of one sample.
        ends: when each sample was over.
        steady: over how many samples the mean distance of ends is steady; 0 where that was not asked for, or does not come.
        row_starts: by job, of each row, where that was asked for; the rows of one sample after those of the other.
        row_ends: the same; of what is sent, when it has left.
    """

    start: list[float]
    end: list[float]
    busy: list[float]
    waited: float
    rows: int
    ends: list[float]
    steady: int = 0
    row_starts: list[list[float]] = field(default_factory=list[list[float]])
    row_ends: list[list[float]] = field(default_factory=list[list[float]])


def simulate(
    jobs: Sequence[Job],
    plan: Plan,
    *,
    samples: int = 1,
    close: float = -1.0,
    least: float = 0.0,
    fewest: int = 2,
    keep_rows: bool = False,
) -> Run:
    """Run all jobs. O(rows · samples · log jobs), and each row's waits and hops.

    Args:
        jobs: for the words of errors.
        plan: what they do.
        samples: how many follow each other.
        close: stop when the samples' ends come at a steady distance, to this share of it (`loop.run`); below 0 do not.
        least: distance below which it is not taken for steady.
        fewest: over how many samples it is a mean at least.
        keep_rows: note when each row starts and ends.

    Raises:
        RunError: some jobs wait for each other in a circle.
    """
    count = len(jobs) if samples > 1 else plan.alone
    flat = flat_of(jobs, plan)
    total = sum(plan.rows[:count])
    machine = compiled() if total >= COMPILED_ROWS else None
    times = samples, count, count, len(plan.resources), len(plan.resources), total * samples * keep_rows, total * samples * keep_rows
    made = [np.zeros(length) for length in times]
    made[1][:] = -1.0
    done = np.zeros(len(jobs), np.int64)
    if machine:
        waited, over, steady = machine(flat, samples, count, keep_rows, least, close, fewest, done, *made)
        lists, there = [_listed(one) for one in made], done.tolist()
    else:
        lists, there = [_listed(one) for one in made], done.tolist()
        waited, over, steady = plainly(listed(flat), samples, count, keep_rows, least, close, fewest, there, *lists)
    ends, begun, ended, _, busy, row_starts, row_ends = lists
    stuck = [number for number in range(count) if there[number] < plan.rows[number]]
    if stuck:
        raise _deadlock(jobs, plan, there, stuck)
    rows = sum(length for length, job in zip(plan.rows, jobs, strict=True) if job.one is not None)
    cuts = [first * samples for first in accumulate(plan.rows[:count], initial=0)] if keep_rows else []
    starts_of, ends_of = ([times[a:b] for a, b in pairwise(cuts)] for times in (row_starts, row_ends))
    return Run(begun, ended, busy, waited, rows, ends[:over], steady, starts_of, ends_of)


def _listed(times: np.ndarray) -> list[float]:
    return times.tolist()


def _deadlock(jobs: Sequence[Job], plan: Plan, done: Sequence[int], stuck: Sequence[int]) -> RunError:
    """Names a circle of jobs, each waiting for the next."""
    circle: list[int] = []
    here = next((number for number in stuck if jobs[number].one is not None), stuck[0])
    while here not in circle:
        circle.append(here)
        row, waits = done[here], plan.waits[here]
        late = [other for other in plan.after[here] if done[other] < plan.rows[other]] if row == 0 else []
        asked = zip(waits.row.tolist(), waits.job.tolist(), waits.rows.tolist(), strict=True)
        late += [other for at, other, wanted in asked if at == row and done[other] < wanted]
        late += [sender for sender, receiver in plan.receivers.items() if receiver == here and done[sender] < plan.rows[sender]]
        if not late:
            break
        here = late[0]
    round_ = circle[circle.index(here) if here in circle else 0 :]
    named = [jobs[number].place for number in round_ if jobs[number].one is not None] or [jobs[round_[0]].place]
    shown = "; ".join(named[:_SHOWN]) + ("; …" if len(named) > _SHOWN else "")
    return RunError(
        f"{len(stuck)} instructions wait for each other: {shown}.",
        place=named[0],
        remedy="Give rings more rows, or do not use a buffer's memory again before its last reader.",
    )
