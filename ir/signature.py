"""The signature of a program: what it takes and gives, and fitting arrays to it.

Casts are done only where they keep the kind: integer to integer (the values must fit), float to float (float64 to
float32 rounds; a finite value that would become infinite is refused). Anything else is refused: a float given for token
ids, or a boolean for an integer mask, is a mistake more often than a wish.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast, runtime_checkable

import ml_dtypes
import numpy as np
import onnx_ir

from netwright.ir.errors import DataError
from netwright.ir.program import Program

Kind = Literal["tensor", "sequence", "optional", "sparse"]
Size = int | str | None
"""A dimension: its size, its symbol, or unknown."""

_KINDS: tuple[tuple[type, Kind], ...] = (
    (onnx_ir.SequenceType, "sequence"),
    (onnx_ir.OptionalType, "optional"),
    (onnx_ir.SparseTensorType, "sparse"),
)


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output.

    Attributes:
        name: the value's name.
        dtype: element type; None where the graph does not say.
        shape: a size, a symbol or None for each axis; None where even the rank is unknown.
        kind: anything but `"tensor"` is handed through unchecked.
        required: False for an input that has a default (an initializer of the same name).
    """

    name: str
    dtype: onnx_ir.DataType | None
    shape: tuple[Size, ...] | None
    kind: Kind = "tensor"
    required: bool = True

    @property
    def rank(self) -> int | None:
        """Number of axes, where known."""
        return None if self.shape is None else len(self.shape)

    def __str__(self) -> str:
        dtype = self.dtype.name.lower() if self.dtype is not None else "?"
        if self.kind != "tensor":
            return f"{self.kind} of {dtype}"
        if self.shape is None:
            return f"{dtype}[…]"
        return f"{dtype}[{', '.join('?' if size is None else str(size) for size in self.shape)}]"


@runtime_checkable
class _TorchTensor(Protocol):
    """What is asked of a torch tensor, so that torch need not be imported to take one."""

    def detach(self) -> _TorchTensor: ...
    def cpu(self) -> _TorchTensor: ...
    def contiguous(self) -> _TorchTensor: ...
    def view(self, dtype: object) -> _TorchTensor: ...
    def resolve_conj(self) -> _TorchTensor: ...
    def numpy(self) -> np.ndarray: ...
    @property
    def dtype(self) -> object: ...


def port(value: onnx_ir.Value, *, required: bool = True) -> Port:
    """The port that a value makes as an input or output."""
    kind = _kind(value.type)
    shape = None if value.shape is None else tuple(_size(dim) for dim in value.shape)
    return Port(value.name or "", value.dtype, shape, kind, required)


def input_ports(program: Program) -> tuple[Port, ...]:
    """What a caller feeds, in order; inputs with a default come along as not required."""
    initializers = program.graph.initializers
    return tuple(port(value, required=value.name not in initializers) for value in program.graph.inputs)


def output_ports(program: Program) -> tuple[Port, ...]:
    """What a run gives back, in order."""
    return tuple(port(value) for value in program.outputs)


def fit_feeds(feeds: Mapping[str, object], ports: Sequence[Port], *, where: str = "") -> dict[str, np.ndarray]:
    """Arrays for one run, checked against a signature and cast where that keeps the kind.

    Args:
        feeds: numpy arrays, torch tensors, numbers or nested lists by input name.
        ports: the inputs.
        where: prefix of the errors' place, such as `"batch 3"`.

    Raises:
        DataError: an unknown or missing name, or an array whose type, rank or static sizes differ.
    """
    known = {one.name for one in ports}
    prefix = f"{where}, " if where else ""
    for name in feeds:
        if name not in known:
            listed = ", ".join(f"{one.name}: {one}" for one in ports) or "none"
            raise DataError(f"The program has no input {name!r}.", place=f"{prefix}input {name}", remedy=f"Its inputs are {listed}.")
    for one in ports:
        if one.required and one.name not in feeds:
            given = ", ".join(feeds) or "nothing"
            raise DataError(f"No value was given for {one.name!r}, {one}.", place=f"{prefix}input {one.name}", remedy=f"Given: {given}.")
    return {one.name: fit(feeds[one.name], one, where=where) for one in ports if one.name in feeds}


def fit(given: object, one: Port, *, where: str = "") -> np.ndarray:
    """One array, checked against a port and cast where that keeps the kind.

    Raises:
        DataError: see `fit_feeds`.
    """
    place = f"{where}, input {one.name}" if where else f"input {one.name}"
    if one.kind != "tensor":
        return pack(given)
    found = to_array(given, place=place)
    if one.dtype is not None:
        found = _cast(found, one, place)
    _check_shape(found.shape, one, place)
    return np.require(found, requirements="C")


def to_array(given: object, *, place: str = "") -> np.ndarray:
    """A numpy array of what was given: an array, a torch tensor (recognised by its module's name), a number, nested lists.

    Raises:
        DataError: ragged lists and other things that are no array.
    """
    if isinstance(given, np.ndarray):
        return cast("np.ndarray", given)
    if type(given).__module__.partition(".")[0] == "torch" and isinstance(given, _TorchTensor):
        return _from_torch(given)
    try:
        found = np.asarray(given)
    except (ValueError, TypeError) as error:
        raise DataError(f"A {type(given).__name__} is no array: {error}.", place=place or None, remedy="Give a numpy array.") from error
    if found.dtype == object and not all(isinstance(item, str | bytes) for item in found.flat):
        raise DataError(
            f"A {type(given).__name__} is no array of numbers.", place=place or None, remedy="Give a numpy array or a torch tensor."
        )
    return found


def pack(items: object) -> np.ndarray:
    """A sequence (or an optional) as an object array of its items, so that every run gives arrays."""
    if isinstance(items, np.ndarray):
        return cast("np.ndarray", items)
    if isinstance(items, Iterable) and not isinstance(items, str | bytes):
        listed = list(cast("Iterable[object]", items))
        packed = np.empty(len(listed), dtype=object)
        for index, item in enumerate(listed):
            packed[index] = item
        return packed
    packed = np.empty((), dtype=object)
    packed[()] = items
    return packed


def _from_torch(tensor: _TorchTensor) -> np.ndarray:
    plain = tensor.detach().cpu()
    reinterpreted = _NOT_IN_NUMPY.get(str(plain.dtype))
    if reinterpreted is None:
        return plain.resolve_conj().numpy()
    carrier, dtype = reinterpreted
    torch = sys.modules["torch"]  # loaded, since one of its tensors is in hand
    return plain.contiguous().view(getattr(torch, carrier)).numpy().view(dtype)


_NOT_IN_NUMPY: Mapping[str, tuple[str, np.dtype]] = {
    "torch.bfloat16": ("int16", np.dtype(ml_dtypes.bfloat16)),
    "torch.float8_e4m3fn": ("uint8", np.dtype(ml_dtypes.float8_e4m3fn)),
    "torch.float8_e4m3fnuz": ("uint8", np.dtype(ml_dtypes.float8_e4m3fnuz)),
    "torch.float8_e5m2": ("uint8", np.dtype(ml_dtypes.float8_e5m2)),
    "torch.float8_e5m2fnuz": ("uint8", np.dtype(ml_dtypes.float8_e5m2fnuz)),
}
"""torch types that torch itself can't give to numpy: a carrier of the same width, and what it stands for."""


def _kind(given: onnx_ir.TypeProtocol | None) -> Kind:
    for cls, kind in _KINDS:
        if isinstance(given, cls):
            return kind
    return "tensor"


def _size(dim: int | onnx_ir.SymbolicDim) -> Size:
    """Older exporters write -1, and some `?`, for a size that is not known."""
    if isinstance(dim, int):
        return dim if dim >= 0 else None
    return None if dim.value == "?" else dim.value


def _group(dtype: np.dtype) -> str:
    if dtype.kind in "iu":
        return "integer"
    if dtype.kind in "USOT":
        return "string"
    if dtype.kind in "fc":
        return "float" if dtype.kind == "f" else "complex"
    if dtype.kind == "b":
        return "boolean"
    return "integer" if "int" in dtype.name else "float"  # ml_dtypes: bfloat16, float8…, int4, uint4


def _cast(found: np.ndarray, one: Port, place: str) -> np.ndarray:
    assert one.dtype is not None
    wanted = one.dtype.numpy()
    group, wanted_group = _group(found.dtype), _group(wanted)
    if group != wanted_group:
        if found.size == 0:
            return found.astype(wanted)
        raise DataError(
            f"{one.name!r} is {one} and was given {found.dtype} values.",
            place=place,
            remedy=f"Only casts within a kind are made; convert it yourself: .astype({wanted.name!r}).",
        )
    if found.dtype == wanted or wanted_group == "string":
        return found if wanted_group != "string" else found.astype(object)
    cast_to = found.astype(wanted) if group == "integer" else _round(found, wanted)
    if group == "integer" and not _same_integers(cast_to, found):
        raise DataError(
            f"{one.name!r} is {one}, and values from {found.min()} to {found.max()} do not fit.", place=place, remedy="Check the data."
        )
    if group == "float" and not np.array_equal(np.isfinite(found), np.isfinite(cast_to)):
        raise DataError(
            f"{one.name!r} is {one}, and values up to {np.nanmax(np.abs(found)):g} overflow it.", place=place, remedy="Scale the data."
        )
    return cast_to


def _same_integers(cast_to: np.ndarray, found: np.ndarray) -> bool:
    """True when no value changed; a flipped sign betrays an unsigned value that came back the same by wrapping twice."""
    return np.array_equal(cast_to.astype(found.dtype), found) and np.array_equal(cast_to < 0, found < 0)


def _round(found: np.ndarray, wanted: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        return found.astype(wanted)


def _check_shape(shape: tuple[int, ...], one: Port, place: str) -> None:
    if one.shape is None:
        return
    given = "×".join(str(size) for size in shape) or "a scalar"
    if len(shape) != len(one.shape):
        raise DataError(f"{one.name!r} is {one}, of rank {one.rank}, and was given {given}.", place=place, remedy=_rank_remedy(shape, one))
    for axis, (size, wanted) in enumerate(zip(shape, one.shape, strict=True)):
        if isinstance(wanted, int) and size != wanted:
            raise DataError(
                f"{one.name!r} is {one}: axis {axis} is {wanted}, and was given {given}.",
                place=place,
                remedy=f"Give {wanted} along axis {axis}.",
            )


def _rank_remedy(shape: tuple[int, ...], one: Port) -> str:
    if one.shape is not None and len(shape) + 1 == len(one.shape):
        return "Add a leading axis for the batch: x[None]."
    return f"Give an array of rank {one.rank}."
