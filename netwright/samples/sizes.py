"""Sizes for dynamic dimensions: bound once per symbol, so that all inputs agree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_ir
from onnx_ir import SymbolicDim

from netwright.ir.errors import DataError
from netwright.ir.program import Program
from netwright.samples.roles import Role

Axis = Literal["batch", "length", "height", "width", "channels", "past", "total", "state"]


@dataclass(frozen=True, slots=True)
class Scale:
    """One try: a size for each kind of axis."""

    batch: int
    length: int
    height: int
    width: int

    def of(self, axis: Axis) -> int:
        """The size of an axis of this kind."""
        sizes: dict[Axis, int] = {
            "batch": self.batch,
            "state": self.batch,
            "length": self.length,
            "past": self.length,
            "total": 2 * self.length,
            "height": self.height,
            "width": self.width,
            "channels": _CHANNELS,
        }
        return sizes[axis]


_CHANNELS = 3
SCALES: tuple[Scale, ...] = (
    Scale(2, 16, 64, 64),
    Scale(1, 16, 64, 64),
    Scale(2, 128, 224, 224),
    Scale(1, 128, 224, 224),
    Scale(1, 576, 48, 320),
    Scale(1, 512, 32, 32),
    Scale(1, 1, 256, 256),
    Scale(1, 4096, 512, 512),
    Scale(1, 16000, 640, 640),
    Scale(1, 1, 1, 1),
)
"""What is tried, in order: two samples before one, since a batch of one hides broadcasting errors; sizes that common strides,
windows and patches divide; waveforms (512 and 576 samples, 16 kHz)."""

_NAMES: tuple[tuple[re.Pattern[str], Axis], ...] = (
    (re.compile(r"past|cache", re.IGNORECASE), "past"),
    (re.compile(r"total", re.IGNORECASE), "total"),
    (re.compile(r"batch|^bs$|^[bn]$", re.IGNORECASE), "batch"),
    (re.compile(r"height|rows|^h$", re.IGNORECASE), "height"),
    (re.compile(r"width|cols|^w$", re.IGNORECASE), "width"),
    (re.compile(r"channel|^c$", re.IGNORECASE), "channels"),
    (re.compile(r"seq|len|time|frame|token|sample|step|^[tsl]$", re.IGNORECASE), "length"),
)
_SHAPE_TEXT = re.compile(r"(?P<name>[^=]+)=(?P<sizes>\d+(?:[x,]\d+)*|scalar)$")


def parse_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Read `NAME=2x128` (also `NAME=2,128` and `NAME=scalar`) into shapes by name.

    Raises:
        DataError: text of another form, or one name twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        found = _SHAPE_TEXT.fullmatch(text.strip())
        if found is None:
            raise DataError(f"{text!r} is no shape.", place="--shape", remedy="Write NAME=2x128, one for each input.")
        name, sizes = found["name"].strip(), found["sizes"]
        if name in shapes:
            raise DataError(f"{name!r} was given two shapes.", place="--shape", remedy="Give each input once.")
        shapes[name] = () if sizes == "scalar" else tuple(int(size) for size in re.split("[x,]", sizes))
    return shapes


def shapes_at(
    program: Program,
    roles: Mapping[str, Role],
    scale: Scale,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    dims: Mapping[str, int],
) -> dict[str, tuple[int, ...]]:
    """A shape for every input.

    Args:
        program: its inputs' shapes are followed; symbols are bound across them.
        roles: by input name.
        scale: sizes for what nothing else decides.
        shapes: shapes that the caller chose; symbols in them are bound to match.
        dims: sizes of symbols that the caller chose.

    Raises:
        DataError: a chosen shape or size does not fit an input, or names none.
    """
    bound = {**bound_by(program, shapes, dims), **dims}
    ranks = (value for value in program.inputs if value.name not in shapes)
    found = dict(shapes)
    for value in ranks:
        found[value.name or ""] = tuple(
            _size(value, axis, roles.get(value.name or "", Role("plain")), scale, bound) for axis in range(len(_dims(value)))
        )
    return {value.name or "": found[value.name or ""] for value in program.inputs}


def free_axes(program: Program, shapes: Mapping[str, tuple[int, ...]], dims: Mapping[str, int]) -> bool:
    """True when some size is left to choose."""
    bound = {**bound_by(program, shapes, dims), **dims}
    return any(
        not isinstance(size, int) and _evaluate(size, bound) is None
        for value in program.inputs
        if value.name not in shapes
        for size in _dims(value)
    )


def bound_by(program: Program, shapes: Mapping[str, tuple[int, ...]], dims: Mapping[str, int]) -> dict[str, int]:
    """The symbols that chosen shapes bind; each shape is checked against its input on the way."""
    inputs = {value.name or "": value for value in program.inputs}
    bound = dict(dims)
    for name, shape in shapes.items():
        value = inputs.get(name)
        if value is None:
            raise DataError(f"The program has no input {name!r}.", place=f"--shape {name}", remedy=f"Its inputs are {', '.join(inputs)}.")
        if value.shape is None:
            continue
        if len(value.shape) != len(shape):
            raise DataError(
                f"{name!r} has rank {len(value.shape)}, not {len(shape)}.", place=f"--shape {name}", remedy=f"It is {value.shape}."
            )
        for axis, (size, chosen) in enumerate(zip(_dims(value), shape, strict=True)):
            wanted = size if isinstance(size, int) else bound.setdefault(size.value, chosen) if _is_symbol(size) and size.value else chosen
            if wanted != chosen:
                raise DataError(
                    f"Axis {axis} of {name!r} is {wanted}, not {chosen}.", place=f"--shape {name}", remedy=f"Its shape is {value.shape}."
                )
    return bound


def _dims(value: onnx_ir.Value) -> tuple[int | SymbolicDim, ...]:
    """The axes; none where even the rank is unknown, and a size of -1, which older exporters write, as unknown."""
    if value.shape is None:
        return ()
    return tuple(SymbolicDim(None) if isinstance(size, int) and size < 0 else size for size in value.shape)


def _size(value: onnx_ir.Value, axis: int, role: Role, scale: Scale, bound: dict[str, int]) -> int:
    size = _dims(value)[axis]
    if isinstance(size, int):
        return size
    if _is_symbol(size):
        assert size.value is not None
        if size.value not in bound:
            bound[size.value] = scale.of(_kind(value, axis, role, size.value))
        return bound[size.value]
    for symbol in _symbols(size):
        if symbol not in bound:
            bound[symbol] = scale.of(_kind(value, axis, role, symbol))
    found = _evaluate(size, bound)
    return max(0, found) if isinstance(found, int) else scale.of(_kind(value, axis, role, ""))


def _is_symbol(size: SymbolicDim) -> bool:
    """True for a name, not an expression such as `past + 1` (names may hold dots: `p2o.DynamicDimension.0`), nor a number as text."""
    return size.value is not None and bool(re.fullmatch(r"[^\W\d][\w.:/]*", size.value))


def _symbols(size: SymbolicDim) -> Iterator[str]:
    if size.value is not None and re.search(r"[^\W\d]", size.value):
        yield from sorted(size.free_symbols())


def _evaluate(size: SymbolicDim, bound: Mapping[str, int]) -> int | None:
    if size.value is None:
        return None
    if _is_symbol(size):
        return bound.get(size.value)
    if not re.search(r"[^\W\d]", size.value):
        return None
    found = size.evaluate(bound)
    return found if isinstance(found, int) else None


def _kind(value: onnx_ir.Value, axis: int, role: Role, symbol: str) -> Axis:
    """What an axis counts: by its symbol's name, else by its place."""
    for pattern, kind in _NAMES:
        if symbol and pattern.search(symbol.rpartition(".")[2]):
            return kind
    if role.kind == "state":
        return "state"
    if axis == 0:
        return "batch"
    rank = len(_dims(value))
    if rank >= 4 and axis >= rank - 2:
        return "height" if axis == rank - 2 else "width"
    if rank >= 4 and axis == 1:
        return "channels"
    return "length"
