"""Which rows wait for which: values that are made and needed, and room in rings."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import HOST, ChipProgram, Receive, Send
from netwright.backends.cim.schedule.jobs import Job, Wait, collector
from netwright.backends.cim.schedule.streams import WHOLE, Needed, Written
from netwright.ir.errors import RunError

MANY = 3
"""From so many writers and so many readers of the same rows on, readers wait for a collector of the writers."""


@dataclass(slots=True)
class _Group:
    """Jobs that write the same rows of a buffer: parts of rows, or the only one.

    Attributes:
        members: jobs, and what each writes.
        axis: of the rows.
        span: of the rows.
        collector: job that has a row when all members have.
    """

    axis: int
    span: tuple[int, int]
    members: list[tuple[int, Written]] = field(default_factory=list[tuple[int, Written]])
    collector: int | None = None


def values(chip: ChipProgram, jobs: list[Job]) -> None:
    """A row waits for the rows of its sources that it needs, whoever writes them.

    Raises:
        RunError: a buffer on a tile is read that nothing writes.
    """
    writers: dict[int, dict[tuple[int, tuple[int, int]], _Group]] = defaultdict(dict)
    readers: Counter[int] = Counter()
    for number, job in enumerate(jobs):
        readers.update(needed.buffer for needed in job.stream.needed)
        for written in job.stream.written:
            span = written.box[written.axis] if written.axis != WHOLE else (0, 1)
            group = writers[written.buffer].setdefault((written.axis, span), _Group(written.axis, span))
            group.members.append((number, written))
    for job in list(jobs):
        for needed in job.stream.needed:
            met = 0
            for group in writers[needed.buffer].values():
                found = [number for number, written in group.members if _meet(needed.box, written.box)]
                met += len(found)
                if needed.axis == WHOLE or needed.axis != group.axis:
                    job.after += found
                elif found:
                    all_of_many = len(found) == len(group.members) >= MANY and readers[needed.buffer] >= MANY
                    counts = _rows_of(needed, group.span)
                    job.waits += [(other, counts) for other in ((_collect(jobs, group),) if all_of_many else found)]
            if not met and chip.buffers[needed.buffer].tile != HOST and all(high > low for low, high in needed.box):
                raise RunError(
                    f"Buffer {needed.buffer} ({chip.buffers[needed.buffer].tensor}) is read, but nothing writes it.",
                    place=job.place,
                    remedy="Check the program with `verify`.",
                )


def _rows_of(needed: Needed, span: tuple[int, int]) -> np.ndarray:
    """How many of these rows of a source each row needs."""
    first, last = span
    return np.where(needed.low >= last, 0, np.clip(needed.high - first, 0, last - first))


def _collect(jobs: list[Job], group: _Group) -> int:
    if group.collector is None:
        rows = group.span[1] - group.span[0]
        group.collector = collector(jobs, rows, [(number, np.arange(1, rows + 1)) for number, _ in group.members])
    return group.collector


def channels(jobs: list[Job]) -> dict[int, int]:
    """The job that receives what each `Send` sends."""
    receivers = {job.one.channel: number for number, job in enumerate(jobs) if isinstance(job.one, Receive)}
    found: dict[int, int] = {}
    for number, job in enumerate(jobs):
        if isinstance(job.one, Send):
            if job.one.channel not in receivers:
                raise RunError(f"Nothing receives channel {job.one.channel}.", place=job.place, remedy="Check the program with `verify`.")
            found[number] = receivers[job.one.channel]
            if jobs[found[number]].stream.rows != job.stream.rows:
                raise RunError(
                    f"Channel {job.one.channel} is sent in {job.stream.rows} rows and received in {jobs[found[number]].stream.rows}.",
                    place=job.place,
                    remedy="Give both ends the same box of tensors with the same stream axis.",
                )
    return found


def rings(chip: ChipProgram, jobs: list[Job], sent: dict[int, int]) -> None:
    """A row of a ring is written when the row that had its place is needed no more; a message leaves when there is room for it.

    Args:
        chip: the program.
        jobs: of it.
        sent: the receiver of each `Send`.
    """
    readers: dict[int, list[tuple[int, Needed]]] = defaultdict(list)
    for number, job in enumerate(jobs):
        for needed in job.stream.needed:
            if chip.buffers[needed.buffer].ring > 0:
                readers[needed.buffer].append((number, needed))
    senders = {receiver: sender for sender, receiver in sent.items()}
    writers = Counter(written.buffer for job in jobs for written in job.stream.written)
    collectors: dict[int, int] = {}
    for number, job in enumerate(list(jobs)):
        for written in job.stream.written:
            buffer = chip.buffers[written.buffer]
            if buffer.ring <= 0 or written.axis == WHOLE:
                continue
            start, stop = buffer.box[written.axis]
            first, last = written.box[written.axis]
            gone = np.arange(first, last, dtype=np.int64) - buffer.ring
            known = readers[written.buffer]
            if writers[written.buffer] >= MANY and len(known) >= MANY:
                if written.buffer not in collectors:
                    collectors[written.buffer], _ = _collect_passed(chip, jobs, written.buffer, written.axis, known)
                room: list[Wait] = [(collectors[written.buffer], np.clip(gone - start + 1, 0, stop - start))]
            else:
                room = [(reader, _passed(needed, gone, needed.axis == written.axis, start)) for reader, needed in known]
            job.waits += room
            if number in senders:
                jobs[senders[number]].waits += room


def reuse(chip: ChipProgram, jobs: list[Job], senders: dict[int, int]) -> None:
    """A later sample writes a row when the row that had its place is needed no more; a message leaves when there is room for it.

    A buffer, or each of its copies, holds the last `ring` rows that were written there, whichever sample's they are, or as many as it
    has: of a buffer with copies for two samples, the rows that go are those of the sample before the last. What is written all at once
    waits until everybody is done. Host buffers are each sample's own.

    Args:
        chip: the program.
        jobs: of it; collectors are added.
        senders: of each job that receives.
    """
    readers: dict[int, list[tuple[int, Needed]]] = defaultdict(list)
    writers: dict[int, list[tuple[int, Written]]] = defaultdict(list)
    for number, job in enumerate(jobs):
        for needed in job.stream.needed:
            readers[needed.buffer].append((number, needed))
        for written in job.stream.written:
            if chip.buffers[written.buffer].tile != HOST:
                writers[written.buffer].append((number, written))
    for buffer, parts in writers.items():
        collected: list[Wait] | None = None
        known = readers[buffer]
        for number, written in parts:
            if written.axis == WHOLE:
                waits: list[Wait] = [(reader, np.full(1, len(needed.low))) for reader, needed in known]
            elif len(parts) >= MANY and len(known) >= MANY:
                collected = collected or [_collect_passed(chip, jobs, buffer, written.axis, known)]
                gone, start = _gone(chip, written)
                waits = [(other, np.maximum(gone - start + 1, 0)) for other, _ in collected]
            else:
                gone, start = _gone(chip, written)
                waits = [
                    (reader, np.where(gone < start, 0, _passed(needed, gone, needed.axis == written.axis, start)))
                    for reader, needed in known
                    if _meet(needed.box, written.box)
                ]
            again = [(wait, chip.buffers[buffer].copies) for wait in waits]
            jobs[number].again += again
            if number in senders:
                jobs[senders[number]].again += again


def _gone(chip: ChipProgram, written: Written) -> tuple[np.ndarray, int]:
    """Rows of the sample before whose places rows take, below the first row where it was one of the same sample; and the first row."""
    buffer = chip.buffers[written.buffer]
    start, stop = buffer.box[written.axis]
    rows = np.arange(*written.box[written.axis], dtype=np.int64)
    if not buffer.ring:
        return rows, start
    before = rows - min(buffer.ring, stop - start) + (stop - start)
    return np.where(before < stop, before, start - 1), start


def _collect_passed(chip: ChipProgram, jobs: list[Job], buffer: int, axis: int, known: list[tuple[int, Needed]]) -> Wait:
    """A job whose rows are there as soon as all readers need a buffer's rows no more."""
    start, stop = chip.buffers[buffer].box[axis]
    every = np.arange(start, stop, dtype=np.int64)
    passed: list[Wait] = [(reader, _passed(needed, every, needed.axis == axis, start)) for reader, needed in known]
    return collector(jobs, stop - start, passed), every


def _passed(needed: Needed, gone: np.ndarray, along: bool, start: int) -> np.ndarray:
    """How many rows of a reader must be done before each of these rows of its source may go; a reader across the rows must be over."""
    if not along:
        return np.where(gone >= start, len(needed.low), 0)
    return np.searchsorted(needed.low, gone, side="right")


def _meet(one: Box, other: Box) -> bool:
    return all(a < d and c < b for (a, b), (c, d) in zip(one, other, strict=True))
