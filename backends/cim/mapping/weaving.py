"""Tasks and the tensors between them become lists of instructions: buffers, messages, loads and stores.

A tile has one buffer for a tensor: the hull of what it makes and needs of it. What a tile needs and others make is sent as soon as it is
made. Tasks are emitted in one order for all tiles, every message before its receipt, so that no tile waits for ever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from netwright.backends.cim.mapping.boxes import hull, meet
from netwright.backends.cim.mapping.tasks import Part, Task
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import HOST, Load, Receive, Send, Store

Key = tuple[int, str]
"""A tile and a tensor: one buffer."""


@dataclass(frozen=True)
class Woven:
    """All tasks, messages included, in an order that every tile can follow.

    Attributes:
        tasks: in order.
        boxes: of every buffer, by tile and tensor, in the order of first use.
        made: where each tensor is made: boxes by tile, in order.
        senders: the place of the task that sends what one receives.
    """

    tasks: tuple[Task, ...]
    boxes: dict[Key, Box]
    made: dict[str, tuple[tuple[int, Box], ...]]
    senders: dict[int, int]


def weave(tasks: Sequence[Task], inputs: Iterable[Part], outputs: Iterable[Part]) -> Woven:
    """Put messages between tasks.

    Args:
        tasks: what makes tensors, in an order in which everything is made before it is read.
        inputs: whole tensors that the host holds from the start.
        outputs: whole tensors that the host wants.
    """
    made: dict[str, list[tuple[int, Box]]] = defaultdict(list)
    wanted: dict[str, dict[int, list[Box]]] = defaultdict(lambda: defaultdict(list))
    given = tuple(inputs)
    for part in given:
        made[part.tensor].append((HOST, part.box))
    for task in tasks:
        for part in task.writes:
            made[part.tensor].append((task.tile, part.box))
        for part in task.reads:
            wanted[part.tensor][task.tile].append(part.box)
    for part in outputs:
        wanted[part.tensor][HOST].append(part.box)
    phases = {(task.tile, part.tensor): task.phase for task in reversed(tasks) for part in task.reads}
    boxes: dict[Key, Box] = {}
    for name, places in made.items():
        held: dict[int, list[Box]] = defaultdict(list)
        for tile, box in places:
            held[tile].append(box)
        for tile, some in wanted[name].items():
            held[tile] += some
        boxes |= {(tile, name): hull(some) for tile, some in held.items()}
    channels = iter(range(2**31))
    done: list[Task] = []
    for part in given:
        done += _deliver(part, HOST, "", phases, wanted, boxes, channels)
    for task in tasks:
        done.append(task)
        for part in task.writes:
            done += _deliver(part, task.tile, task.layer, phases if task.tile == HOST else task.phase, wanted, boxes, channels)
    sent = {task.channel: place for place, task in enumerate(done) if task.reads and task.channel >= 0}
    senders = {place: sent[task.channel] for place, task in enumerate(done) if task.writes and task.channel >= 0}
    return Woven(tuple(done), boxes, {name: tuple(places) for name, places in made.items()}, senders)


def _deliver(
    made: Part,
    source: int,
    layer: str,
    phase: int | Mapping[Key, int],
    wanted: Mapping[str, Mapping[int, list[Box]]],
    boxes: Mapping[Key, Box],
    channels: Iterator[int],
) -> Iterator[Task]:
    """A part of a tensor from where it is made to where it is needed; what the host holds comes in its first reader's phase."""
    for tile in wanted[made.tensor]:
        common = None if source == tile else meet(made.box, boxes[tile, made.tensor])
        if common is None:
            continue
        when = phase if isinstance(phase, int) else phase.get((tile, made.tensor), 0)
        here, outside = (Part(made.tensor, common),), (Part(made.tensor, common, host=True),)
        if source == HOST:
            yield Task(tile, outside, here, lambda s, t, box=common: Load(s[0], t[0], box, layer), layer, (0,), when)
        elif tile == HOST:
            yield Task(source, here, outside, lambda s, t, box=common: Store(s[0], t[0], box, layer), layer, (2,), when)
        else:
            way = next(channels)
            send = Task(source, here, (), lambda s, _, box=common, way=way, to=tile: Send(way, s[0], box, to, layer), layer, (2,), when)
            receive = Task(tile, (), here, lambda _, t, box=common, way=way: Receive(way, t[0], box, layer), layer, (), when)
            yield from (replace(send, channel=way), replace(receive, channel=way))
