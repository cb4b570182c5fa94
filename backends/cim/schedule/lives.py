"""Roughly how long buffers are in use: one sample, its rows as fast as units and values let them, without anybody else in the way.

A hundredth of a schedule's time: for who decides how memory is used before there is one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from netwright.backends.cim.program.model import HOST, ChipProgram, Instruction, Load, Mvm, Receive, Send, Store, Write
from netwright.backends.cim.schedule.jobs import Takes, takes
from netwright.backends.cim.schedule.streams import WHOLE, Stream, stream_of


@dataclass(slots=True)
class Life:
    """A buffer in time.

    Attributes:
        first_ns: its first row begins to be made, or sent.
        over_ns: nobody needs it any more.
        last_ns: when its last row begins to be made, of the writer that is there first.
        passed_ns: when its first row is needed no more.
        in_rows: writers and readers all go along its rows, and readers leave rows behind.
    """

    first_ns: float = float("inf")
    over_ns: float = 0.0
    last_ns: float = float("inf")
    passed_ns: float = 0.0
    in_rows: bool = True

    @property
    def held_ns(self) -> float:
        """How long one of its rows is needed: the next sample's waits as long for its place."""
        if self.in_rows:
            return max(self.passed_ns - self.first_ns, self.over_ns - self.last_ns, 0.0)
        return max(self.over_ns - self.first_ns, 0.0)


@dataclass(frozen=True, slots=True)
class Lives:
    """All buffers on tiles.

    Attributes:
        lives: by buffer.
        busiest_ns: what the busiest unit or port works for one sample.
        latency_ns: of one sample.
    """

    lives: dict[int, Life]
    busiest_ns: float
    latency_ns: float


@dataclass(frozen=True, slots=True)
class _Made:
    """When an instruction's rows begin and end: of the first, and of the last."""

    first: float
    end: float
    row: float
    span: tuple[int, int]
    axis: int


def lives(chip: ChipProgram, order: Iterable[tuple[int, Instruction]]) -> Lives:
    """Every buffer's life, O(instructions · their sources' writers).

    Args:
        chip: the program.
        order: its instructions and their tiles: whoever makes something before those who read it.
    """
    found: dict[int, Life] = defaultdict(Life)
    made: dict[int, list[_Made]] = defaultdict(list)
    sent: dict[int, tuple[float, float]] = {}
    busy: dict[tuple[str, int], float] = defaultdict(float)
    dram, latency = 0.0, 0.0
    for tile, one in order:
        stream = stream_of(chip, one)
        taken = takes(chip, one, stream, on_host=tile == HOST)
        row = max(taken.work_ns, taken.read_ns, taken.write_ns, taken.link_ns, taken.dram_ns)
        start, end = _begun(stream, made, row)
        if isinstance(one, Receive):
            start, end = sent[one.channel][0], sent[one.channel][1] + row
        if isinstance(one, Load | Store):
            dram = end = max(end, dram + stream.rows * taken.dram_ns)
        if isinstance(one, Send):
            sent[one.channel] = start, end
        _count(busy, tile, one, taken, stream.rows)
        _touch(chip, found, made, stream, _Made(start, end, row, (0, 1), WHOLE))
        latency = max(latency, end)
    return Lives(dict(found), max(busy.values(), default=0.0), latency)


def _begun(stream: Stream, made: dict[int, list[_Made]], row: float) -> tuple[float, float]:
    """When the first row can begin, and when the last is there."""
    start, late = 0.0, 0.0
    for needed in stream.needed:
        low, high = int(needed.high[0]), int(needed.high[-1])
        for one in made[needed.buffer]:
            if needed.axis == WHOLE or needed.axis != one.axis:
                start = max(start, one.end)
                continue
            rows = one.span[1] - one.span[0]
            step = (one.end - one.first - one.row) / max(rows - 1, 1)
            if low > one.span[0]:
                start = max(start, one.first + one.row + (min(low, one.span[1]) - one.span[0] - 1) * step)
            if high > one.span[0]:
                late = max(late, one.first + one.row + (min(high, one.span[1]) - one.span[0] - 1) * step)
    return start, max(start + stream.rows * row, late + row)


def _touch(chip: ChipProgram, found: dict[int, Life], made: dict[int, list[_Made]], stream: Stream, at: _Made) -> None:
    for written in stream.written:
        span = written.box[written.axis] if written.axis != WHOLE else (0, 1)
        made[written.buffer].append(_Made(at.first, at.end, at.row, span, written.axis))
        if chip.buffers[written.buffer].tile != HOST:
            life = found[written.buffer]
            life.first_ns, life.last_ns = min(life.first_ns, at.first), min(life.last_ns, at.end - at.row)
            life.over_ns = max(life.over_ns, at.end)
            life.in_rows &= written.axis != WHOLE
    for needed in stream.needed:
        if chip.buffers[needed.buffer].tile != HOST:
            life = found[needed.buffer]
            life.over_ns = max(life.over_ns, at.end)
            along = needed.axis != WHOLE and int(needed.low[-1]) > 0
            life.in_rows &= along
            if along:
                share = int((needed.low <= needed.low[0]).sum()) / stream.rows
                life.passed_ns = max(life.passed_ns, at.first + share * (at.end - at.first))


def _count(busy: dict[tuple[str, int], float], tile: int, one: Instruction, taken: Takes, rows: int) -> None:
    unit = ("arrays", one.unit) if isinstance(one, Mvm | Write) else ("vector", tile)
    for resource, time in ((unit, taken.work_ns), (("read", tile), taken.read_ns), (("write", tile), taken.write_ns)):
        busy[resource] += rows * time
    if isinstance(one, Load | Store):
        busy["dram", 0] += rows * taken.dram_ns
    if isinstance(one, Send):
        busy["out", tile] += rows * taken.link_ns
