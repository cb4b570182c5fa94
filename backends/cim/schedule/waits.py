"""Which rows wait for which: values that are made and needed, and room in rings."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import HOST, ChipProgram, Receive, Send
from netwright.backends.cim.schedule.jobs import Job
from netwright.backends.cim.schedule.streams import WHOLE, Needed, Written
from netwright.ir.errors import RunError


def values(chip: ChipProgram, jobs: list[Job]) -> None:
    """A row waits for the rows of its sources that it needs, whoever writes them.

    Raises:
        RunError: a buffer on a tile is read that nothing writes.
    """
    writers: dict[int, list[tuple[int, Written]]] = defaultdict(list)
    for number, job in enumerate(jobs):
        for written in job.stream.written:
            writers[written.buffer].append((number, written))
    for number, job in enumerate(jobs):
        for needed in job.stream.needed:
            found = [(other, written) for other, written in writers[needed.buffer] if _meet(needed.box, written.box)]
            if not found and chip.buffers[needed.buffer].tile != HOST and all(high > low for low, high in needed.box):
                raise RunError(
                    f"Buffer {needed.buffer} ({chip.buffers[needed.buffer].tensor}) is read, but nothing writes it.",
                    place=job.place,
                    remedy="Check the program with `verify`.",
                )
            for other, written in found:
                rows = jobs[other].stream.rows
                if other == number:
                    continue
                if needed.axis != WHOLE and needed.axis == written.axis:
                    first, last = written.box[written.axis]
                    counts = np.where(needed.low >= last, 0, np.clip(needed.high - first, 0, rows))
                    job.waits.append((other, counts.tolist()))
                else:
                    job.after.append(other)


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
    for number, job in enumerate(list(jobs)):
        for written in job.stream.written:
            ring = chip.buffers[written.buffer].ring
            if ring <= 0 or written.axis == WHOLE:
                continue
            first, last = written.box[written.axis]
            gone = np.arange(first, last, dtype=np.int64) - ring
            for reader, needed in readers[written.buffer]:
                counts = _passed(needed, gone, needed.axis == written.axis, chip.buffers[written.buffer].box[written.axis][0])
                job.waits.append((reader, counts))
                if number in senders:
                    jobs[senders[number]].waits.append((reader, counts))


def _passed(needed: Needed, gone: np.ndarray, along: bool, start: int) -> list[int]:
    """How many rows of a reader must be done before each of these rows of its source may go; a reader across the rows must be over."""
    if not along:
        return np.where(gone >= start, len(needed.low), 0).tolist()
    return np.searchsorted(needed.low, gone, side="right").tolist()


def _meet(one: Box, other: Box) -> bool:
    return all(a < d and c < b for (a, b), (c, d) in zip(one, other, strict=True))
