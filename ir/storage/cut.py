"""Cuts the big tensors out of a serialized model, without parsing them.

What is left, the skeleton, is a sound `ModelProto` of a few kilobytes per hundred nodes, in which each cut tensor is marked. Only
submessages large enough to hold a big tensor are walked, so the walk costs microseconds per weight, not per byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from netwright.ir.errors import ModelFileError
from netwright.ir.storage import wire
from netwright.ir.storage.limits import GRAPH_DEPTH, INLINE_LIMIT
from netwright.ir.storage.region import Region

MARK = "\0cut:"
"""How the location of a cut tensor begins in the skeleton; no path may hold a NUL character."""

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _FUNCTION, _TENSOR = range(6)

_INSIDE: dict[int, dict[int, int]] = {
    _MODEL: {7: _GRAPH, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
}
"""Which field of which message (onnx.proto) may hold a big tensor, and what that field is."""

_TRAINING_INFO = 20
_RAW_DATA, _DATA_TYPE, _EXTERNAL_DATA, _DATA_LOCATION = 9, 2, 13, 14
_IN_PLACE = {4: (1, 14), 10: (11, 15)}
"""Typed fields whose packed form is also the raw layout: float_data (float, complex64), double_data (double, complex128)."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a cut tensor's payload lies."""

    offset: int
    length: int


@dataclass(slots=True)
class Carving:
    """The skeleton's bytes and the cuts, in order of their marks.

    Attributes:
        pieces: the skeleton, to be joined.
        cuts: the payloads left out.
        training: whether the model carries training information, which is left out too.
    """

    pieces: list[bytes] = field(default_factory=list[bytes])
    cuts: list[Cut] = field(default_factory=list[Cut])
    training: bool = False


def carve(region: Region) -> Carving:
    """Walk a serialized ModelProto and cut its big tensors out. Linear in the fields walked.

    Raises:
        ModelFileError: the bytes are no protobuf message, or graphs are nested too deeply.
    """
    carving = Carving()
    _Walk(region, carving).message(_MODEL, 0, region.size, 0, carving.pieces)
    return carving


class _Walk:
    def __init__(self, region: Region, carving: Carving) -> None:
        self._buffer = region.walkable
        self._region = region
        self._carving = carving

    def message(self, kind: int, start: int, end: int, depth: int, out: list[bytes]) -> int:
        """Append the message's carved bytes to `out`; returns how many."""
        if depth > GRAPH_DEPTH:
            raise ModelFileError(
                f"Graphs are nested more than {GRAPH_DEPTH} deep.",
                place=self._region.place,
                remedy="No exporter makes this; is the file damaged?",
            )
        inside = _INSIDE[kind]
        size, copied = 0, start
        for number, wire_type, at, payload, stop in wire.fields(self._buffer, start, end):
            if kind == _MODEL and number == _TRAINING_INFO:
                size += self._copy(copied, at, out)
                copied, self._carving.training = stop, True
                continue
            if wire_type != wire.BYTES or number not in inside or stop - payload < INLINE_LIMIT:
                continue
            part: list[bytes] = []
            length = self._submessage(inside[number], payload, stop, depth + (inside[number] == _GRAPH), part)
            if length == stop - payload:
                continue
            size += self._copy(copied, at, out)
            head = wire.header(number, length)
            out.append(head)
            out.extend(part)
            size += len(head) + length
            copied = stop
        return size + self._copy(copied, end, out)

    def _submessage(self, kind: int, start: int, end: int, depth: int, out: list[bytes]) -> int:
        return self._tensor(start, end, out) if kind == _TENSOR else self.message(kind, start, end, depth, out)

    def _tensor(self, start: int, end: int, out: list[bytes]) -> int:
        found = self._payload(start, end)
        if found is None:
            return end - start
        at, payload, stop = found
        mark = f"{MARK}{len(self._carving.cuts)}"
        self._carving.cuts.append(Cut(payload, stop - payload))
        entry = wire.text_field(1, "location") + wire.text_field(2, mark)
        marked = wire.bytes_field(_EXTERNAL_DATA, entry) + wire.number_field(_DATA_LOCATION, 1)
        out.append(marked)
        return len(marked) + self._copy(start, at, out) + self._copy(stop, end, out)

    def _payload(self, start: int, end: int) -> tuple[int, int, int] | None:
        """The one field that holds the tensor's data in raw layout, else None (protobuf then parses it as it is)."""
        found: list[tuple[int, int, int, int]] = []
        data_type = -1
        for number, wire_type, at, payload, stop in wire.fields(self._buffer, start, end):
            if number == _DATA_TYPE and wire_type == wire.VARINT:
                data_type = payload
            elif number in (_DATA_LOCATION, _EXTERNAL_DATA):
                return None
            elif number == _RAW_DATA or number in _IN_PLACE:
                if wire_type != wire.BYTES:
                    return None
                found.append((number, at, payload, stop))
        if len(found) != 1:
            return None
        number, at, payload, stop = found[0]
        if number != _RAW_DATA and data_type not in _IN_PLACE[number]:
            return None
        return (at, payload, stop) if stop - payload >= INLINE_LIMIT else None

    def _copy(self, start: int, end: int, out: list[bytes]) -> int:
        if end > start:
            out.append(self._region.read(start, end - start))
        return max(0, end - start)
