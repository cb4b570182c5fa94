"""A plan as flat sequences: what the event loop runs on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from netwright.backends.cim.schedule.jobs import Job
from netwright.backends.cim.schedule.plan import NONE, Plan

Numbers: TypeAlias = np.ndarray | list[int]
Times: TypeAlias = np.ndarray | list[float]


class Flat(NamedTuple):
    """By job number; what belongs to job j, row r or message j of something stands from `start[j]` to `start[j + 1]`.

    Attributes:
        rows: of each job.
        first: number of its first row, all jobs' rows counted through.
        counted: 1 for instructions, 0 for gates and collectors.
        wait_start: by row.
        wait_job: jobs that rows wait for.
        wait_rows: how many of their rows, counted from their first of the same sample.
        after_start: by job.
        after_job: jobs wanted whole.
        after_lag: 1 where it is the sample before's.
        caller: the job that sends what one receives, or NONE.
        receiver: the job that receives what one sends, or NONE.
        unit: as in `Plan`, and the rest.
        work: and so on.
        cells: …
        reader: …
        read: …
        writer: …
        write: …
        travels: 1 for jobs whose rows go over the network.
        way_start: by job.
        way_resource: resources that a head comes to.
        way_delay: time from each to the next.
        link: …
        port: …
        from_dram: …
        to_dram: …
        dram: …
        latency: …
        setup: …
    """

    rows: Numbers
    first: Numbers
    counted: Numbers
    wait_start: Numbers
    wait_job: Numbers
    wait_rows: Numbers
    after_start: Numbers
    after_job: Numbers
    after_lag: Numbers
    caller: Numbers
    receiver: Numbers
    unit: Numbers
    work: Times
    cells: Times
    reader: Numbers
    read: Times
    writer: Numbers
    write: Times
    travels: Numbers
    way_start: Numbers
    way_resource: Numbers
    way_delay: Times
    link: Times
    port: Times
    from_dram: Numbers
    to_dram: Numbers
    dram: int
    latency: float
    setup: float


def flat_of(jobs: Sequence[Job], plan: Plan) -> Flat:
    """All sequences as arrays."""
    first: np.ndarray = _starts(plan.rows)
    row = np.concatenate([waits.row + start for waits, start in zip(plan.waits, first.tolist(), strict=False)] or [np.empty(0, np.int64)])
    after = [[*reversed(whole), *behind] for whole, behind in zip(plan.after, plan.behind, strict=True)]
    lags = [[0] * len(whole) + [1] * len(behind) for whole, behind in zip(plan.after, plan.behind, strict=True)]
    receiver, caller = [NONE] * len(jobs), [NONE] * len(jobs)
    for sender, taker in plan.receivers.items():
        receiver[sender], caller[taker] = taker, sender
    ways = [way or () for way in plan.way]
    return Flat(
        rows=_numbers(plan.rows),
        first=first,
        counted=_numbers([int(job.one is not None) for job in jobs]),
        wait_start=_starts(np.bincount(row, minlength=sum(plan.rows)).tolist()),
        wait_job=np.concatenate([waits.job for waits in plan.waits] or [row]),
        wait_rows=np.concatenate([waits.rows for waits in plan.waits] or [row]),
        after_start=_starts([len(others) for others in after]),
        after_job=_numbers([other for others in after for other in others]),
        after_lag=_numbers([lag for others in lags for lag in others]),
        caller=_numbers(caller),
        receiver=_numbers(receiver),
        unit=_numbers(plan.unit),
        work=_times(plan.work),
        cells=_times(plan.cells),
        reader=_numbers(plan.reader),
        read=_times(plan.read),
        writer=_numbers(plan.writer),
        write=_times(plan.write),
        travels=_numbers([int(way is not None) for way in plan.way]),
        way_start=_starts([len(way) for way in ways]),
        way_resource=_numbers([resource for way in ways for resource, _ in way]),
        way_delay=_times([delay for way in ways for _, delay in way]),
        link=_times(plan.link),
        port=_times(plan.port),
        from_dram=_numbers(plan.from_dram),
        to_dram=_numbers(plan.to_dram),
        dram=plan.dram,
        latency=plan.latency,
        setup=plan.setup,
    )


def listed(flat: Flat) -> Flat:
    """The same as lists, which plain Python reads faster."""
    return Flat._make(part.tolist() if isinstance(part, np.ndarray) else part for part in flat)


def _numbers(values: Sequence[int]) -> np.ndarray:
    return np.asarray(values, dtype=np.int64)


def _times(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


def _starts(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(_numbers(lengths), dtype=np.int64)])
