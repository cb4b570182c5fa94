"""What the host does beside the chip: work in numbers and no prices, since the chip's description says nothing of the host."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain

import onnx_ir

from netwright.backends.cim.mapping.work import work_of
from netwright.backends.cim.program.access import volume
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.memory import item_size
from netwright.backends.cim.program.model import ChipProgram, Load, Region, Store, Work, host_note
from netwright.backends.cim.program.regions import region_program
from netwright.ir.opinfo import subgraphs
from netwright.ir.program import constant
from netwright.ir.shapes import infer, static_shape


@dataclass(frozen=True, slots=True)
class HostPart:
    """What the chip could not run, of one sample. None of it is in the chip's time, energy and operations.

    Attributes:
        name: of the region.
        why: the reason.
        work: what it would be for a vector unit, as far as sizes are known.
        unknown: operators whose work is not: sizes or numbers of rounds that only the data decide.
        from_chip_bytes: that tiles store for it, through the port to outer memory (which the chip pays for).
        to_chip_bytes: that tiles load of its results, the same way.
    """

    name: str
    why: str
    work: Work = Work()
    unknown: tuple[str, ...] = ()
    from_chip_bytes: int = 0
    to_chip_bytes: int = 0

    @property
    def note(self) -> str:
        """The reason as a sentence."""
        return host_note(self.name, self.why)

    def to_dict(self) -> dict[str, object]:
        """The part as JSON."""
        work = {
            "elements": self.work.elements,
            "macs": self.work.macs,
            "special": self.work.special,
            "moved_bytes": self.work.moved,
            "unknown": list(self.unknown),
        }
        port = {"from_chip_bytes": self.from_chip_bytes, "to_chip_bytes": self.to_chip_bytes}
        return {"name": self.name, "why": self.why, "not_in_totals": work, **port}


def host_parts(chip: ChipProgram) -> tuple[HostPart, ...]:
    """The regions that the host runs, in order."""
    stored: Counter[int] = Counter()
    loaded: Counter[int] = Counter()
    for one in chain.from_iterable(chip.tiles.values()) if chip.host else ():
        if isinstance(one, Store):
            stored[one.target] += _bytes(chip, one.target, one.box)
        elif isinstance(one, Load):
            loaded[one.source] += _bytes(chip, one.source, one.box)
    found: list[HostPart] = []
    for number in dict.fromkeys(one.region for one in chip.host):
        region, own = chip.regions[number], [one for one in chip.host if one.region == number]
        amount, unknown = _work(chip, region)
        given = sum(stored[buffer] for buffer in dict.fromkeys(chain.from_iterable(one.sources for one in own)))
        made = sum(loaded[buffer] for buffer in dict.fromkeys(chain.from_iterable(one.targets for one in own)))
        found.append(HostPart(region.name, region.why_host, amount, unknown, given, made))
    return tuple(found)


def _work(chip: ChipProgram, region: Region) -> tuple[Work, tuple[str, ...]]:
    """By the same table as for vector units, from the model that the host runs; and the operators that it cannot tell."""
    program = region_program(region)
    for value, name in zip(program.inputs, region.inputs, strict=True):
        value.shape = onnx_ir.Shape(chip.tensors[name].shape)
    infer(program)
    nodes = tuple(program.graph)  # bodies belong to the node that runs them
    known = [node for node in nodes if _known(node)]
    unknown = dict.fromkeys(node.op_type for node in nodes if not _known(node))
    return work_of(known, lambda _: False), tuple(unknown)


def _known(node: onnx_ir.Node) -> bool:
    if subgraphs(node):
        return False
    values = [value for value in (*node.inputs, *node.outputs) if value is not None and value.name]
    return all(static_shape(value) is not None or constant(value) is not None for value in values)


def _bytes(chip: ChipProgram, buffer: int, box: Box) -> int:
    return volume(box) * item_size(chip.tensors[chip.buffers[buffer].tensor].dtype)
