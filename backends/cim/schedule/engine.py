"""The event simulation: every row of every job in time, every resource one thing at a time, first come first served.

A row of a product or of a vector unit holds its unit; reading and writing overlap with that and hold the memory's ports; the row is there
when the last of the three is over, and the next may start. A message's head goes from link to link (reader's port, links, writer's
port), each of which it holds for its whole length; it is written when its tail has come. Rows to and from outer memory hold that
memory's port besides. A job whose rows go over the network starts the next row when the one before has left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from netwright.backends.cim.schedule.jobs import Job
from netwright.backends.cim.schedule.plan import NONE, Plan
from netwright.ir.errors import RunError

_START, _DONE, _LEFT = -1, -2, -3
_SHOWN = 5


@dataclass(slots=True)
class Run:
    """What a simulation found, by job and by resource.

    Attributes:
        start: time of the first row's start.
        end: time of the last row's end.
        busy: time that each resource was at work.
        waited: time that rows waited for links and ports.
        rows: rows simulated.
        row_starts: by job, of each row, where that was asked for.
        row_ends: the same; of what is sent, when it has left.
    """

    start: list[float]
    end: list[float]
    busy: list[float]
    waited: float
    rows: int
    row_starts: list[list[float]]
    row_ends: list[list[float]]


def simulate(jobs: Sequence[Job], plan: Plan, *, keep_rows: bool = False) -> Run:
    """Run all jobs. O(rows · log jobs), and each row's waits and hops.

    Args:
        jobs: for the words of errors.
        plan: what they do.
        keep_rows: note when each row starts and ends.

    Raises:
        RunError: some jobs wait for each other in a circle.
    """
    count = len(jobs)
    total = plan.rows
    next_row, done, arrived, checked = [0] * count, [0] * count, [0] * count, [0] * count
    after = [list(others) for others in plan.after]
    begun, ended = [-1.0] * count, [0.0] * count
    free, busy = [0.0] * len(plan.resources), [0.0] * len(plan.resources)
    sleepers: list[dict[int, list[int]]] = [{} for _ in jobs]
    row_starts: list[list[float]] = [[] for _ in jobs] if keep_rows else []
    row_ends: list[list[float]] = [[] for _ in jobs] if keep_rows else []
    callers: list[int] = [NONE] * count
    for sender, receiver in plan.receivers.items():
        callers[receiver] = sender
    parked: list[bool] = [False] * count
    heap: list[tuple[float, int, int, int, float]] = []
    tick = 0
    waited = 0.0
    rows = 0

    def push(time: float, job: int, stage: int, tail: float = 0.0) -> None:
        nonlocal tick
        tick += 1
        heappush(heap, (time, tick, job, stage, tail))

    def take(resource: int, now: float, length: float) -> float:
        """Hold a resource from the first moment that it is free; that moment."""
        at = free[resource]
        if at < now:
            at = now
        free[resource] = at + length
        busy[resource] += length
        return at

    def attempt(job: int, now: float) -> None:
        """Start a job's next row, or have it woken when what it waits for has changed."""
        row = next_row[job]
        before = after[job]
        while before:
            other = before[-1]
            if done[other] < total[other]:
                sleepers[other].setdefault(total[other], []).append(job)
                return
            before.pop()
        waits = plan.waits[job][row]
        for place in range(checked[job], len(waits)):
            other, wanted = waits[place]
            if done[other] < wanted:
                checked[job] = place
                sleepers[other].setdefault(wanted, []).append(job)
                return
        checked[job] = len(waits)
        caller = callers[job]
        if caller != NONE and arrived[caller] <= row:
            parked[job] = True
            return
        next_row[job], checked[job] = row + 1, 0
        resource = plan.unit[job]
        if resource == NONE:
            start(job, now)
            return
        at = take(resource, now, plan.work[job])
        if at > now:
            push(at, job, _START)
        else:
            start(job, now)

    def start(job: int, now: float) -> None:
        """A row has its unit: reserve ports, or send it on its way."""
        nonlocal waited, rows
        if jobs[job].one is not None:
            rows += 1
        if keep_rows:
            row_starts[job].append(now)
        if begun[job] < 0.0:
            begun[job] = now
        end = now + plan.work[job]
        reader, writer = plan.reader[job], plan.writer[job]
        if reader != NONE:
            at = take(reader, now, plan.read[job])
            waited += at - now
            end = max(end, at + plan.read[job])
        if plan.way[job] is None:
            if writer != NONE:
                at = take(writer, now, plan.write[job])
                waited += at - now
                end = max(end, at + plan.write[job])
            push(end, job, _DONE)
            return
        if plan.from_dram[job]:
            at = take(plan.dram, now, plan.port[job])
            waited += at - now
            left = at + plan.port[job]
            push(left, job, _LEFT)
            push(at + plan.latency, job, 0, left + plan.latency)
        else:
            push(now + plan.setup, job, 0, end + plan.setup)

    def hop(job: int, now: float, stage: int, tail: float) -> None:
        """A message's head comes to the next port or link of its way."""
        nonlocal waited
        way, length = plan.way[job] or (), plan.link[job]
        if stage < len(way):
            resource, delay = way[stage]
            at = take(resource, now, length)
            waited += at - now
            tail = max(tail, at + delay + length)
            if stage == 0 and not plan.from_dram[job]:
                push(max(at + length, tail - plan.setup), job, _LEFT)
            push(at + delay, job, stage + 1, tail)
        elif now < tail:
            push(tail, job, stage, tail)
        else:
            arrive(job, now)

    def arrive(job: int, now: float) -> None:
        """A message's tail has come."""
        nonlocal waited
        if job in plan.receivers:
            arrived[job] += 1
            receiver = plan.receivers[job]
            if parked[receiver]:
                parked[receiver] = False
                attempt(receiver, now)
        elif plan.writer[job] != NONE:
            at = take(plan.writer[job], now, plan.write[job])
            waited += at - now
            push(at + plan.write[job], job, _DONE)
        elif plan.to_dram[job]:
            at = take(plan.dram, now, plan.port[job])
            waited += at - now
            push(at + plan.port[job] + plan.latency, job, _DONE)
        else:
            push(take(plan.unit[job], now, plan.cells[job]) + plan.cells[job], job, _DONE)

    def finish(job: int, now: float) -> None:
        """A row is there: wake those who waited for it."""
        done[job] += 1
        ended[job] = now
        if keep_rows:
            row_ends[job].append(now)
        woken = sleepers[job].pop(done[job], None)
        if woken:
            for other in woken:
                attempt(other, now)

    for job in range(count):
        attempt(job, 0.0)
    while heap:
        now, _, job, stage, tail = heappop(heap)
        if stage == _DONE:
            finish(job, now)
            if plan.way[job] is None and next_row[job] < total[job]:
                attempt(job, now)
        elif stage == _START:
            start(job, now)
        elif stage == _LEFT:
            if job in plan.receivers:
                finish(job, now)
            if next_row[job] < total[job]:
                attempt(job, now)
        else:
            hop(job, now, stage, tail)
    stuck = [number for number in range(count) if done[number] < total[number]]
    if stuck:
        raise _deadlock(jobs, plan, done, next_row, stuck)
    return Run(begun, ended, busy, waited, rows, row_starts, row_ends)


def _deadlock(jobs: Sequence[Job], plan: Plan, done: Sequence[int], next_row: Sequence[int], stuck: Sequence[int]) -> RunError:
    """Names a circle of jobs, each waiting for the next."""
    circle: list[int] = []
    here = next((number for number in stuck if jobs[number].one is not None), stuck[0])
    while here not in circle:
        circle.append(here)
        row = min(next_row[here], plan.rows[here] - 1)
        late = [other for other in plan.after[here] if done[other] < plan.rows[other]] if row == 0 else []
        late += [other for other, wanted in plan.waits[here][row] if done[other] < wanted]
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
