"""Encoding and decoding of integer arrays."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from netwright.codec.engines import Engine, Loops, loops_of
from netwright.codec.golomb import best_order, folded, unfolded
from netwright.ir.errors import NetwrightError

Method: TypeAlias = Literal["dense", "packed", "golomb", "runs"]
METHODS: tuple[Method, ...] = ("dense", "packed", "golomb", "runs")
"""`dense`: the array as it is. `packed`: a bitmap of what is not zero, and those integers. `golomb`: a bitmap, and Exponential-Golomb
codes of one order. `runs`: how many zeros precede each other integer, and that integer, as codes of two orders."""

_MAGIC = b"NWC1"
_HEAD = struct.Struct("<4sBBBBBq")
"""Magic, method, type, rank, two orders, how many integers are not zero; then the sizes of the axes, 8 bytes each."""
_DTYPES: tuple[np.dtype[np.generic], ...] = tuple(np.dtype(name) for name in ("int8", "uint8", "int16", "uint16", "int32"))
LIMIT = 1 << 31
"""Elements that `decode` makes room for unless told otherwise: a few bytes may stand for any number of zeros."""


class CodecError(NetwrightError):
    """An array that cannot be encoded, or bytes that are no encoded array."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What an array is encoded from.

    Attributes:
        array: the array.
        flat: its elements.
        places: where they are not zero.
        values: those elements.
    """

    array: np.ndarray
    flat: np.ndarray
    places: np.ndarray
    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's."""
        return self.array.shape

    @property
    def runs(self) -> np.ndarray:
        """How many zeros precede each element that is not zero."""
        return np.diff(self.places, prepend=-1) - 1


@dataclass(frozen=True, slots=True)
class _Body:
    """A payload that need not be made to know its length."""

    bytes: int
    orders: tuple[int, int]
    make: Callable[[Loops], bytes]


def encode(array: np.ndarray, *, method: Method | Literal["auto"] = "auto", engine: Engine = "auto") -> bytes:
    """Encode an array of integers, by the method that needs the fewest bytes unless one is named.

    Args:
        array: of int8, uint8, int16, uint16 or int32, any shape.
        method: see `METHODS`.
        engine: `numba`, `numpy`, or what there is.

    Returns:
        A header (17 bytes and 8 for each axis) and the payload.

    Raises:
        CodecError: another type, or more than 255 axes.
        MissingExtraError: numba was asked for, and is not installed.
    """
    parts = _parts(array)
    bodies = _bodies(parts)
    chosen = min(METHODS, key=lambda one: bodies[one].bytes) if method == "auto" else method
    body = bodies[chosen]
    head = _HEAD.pack(_MAGIC, METHODS.index(chosen), _DTYPES.index(array.dtype), array.ndim, *body.orders, len(parts.values)) + struct.pack(
        f"<{array.ndim}q", *array.shape
    )
    return head + body.make(loops_of(engine))


def sizes(array: np.ndarray) -> Mapping[Method, int]:
    """How many bytes `encode` writes, header included, by method. Nothing is encoded.

    Raises:
        CodecError: a type that is not encoded.
    """
    head = _HEAD.size + 8 * array.ndim
    return MappingProxyType({method: head + body.bytes for method, body in _bodies(_parts(array)).items()})


def decode(data: bytes, *, engine: Engine = "auto", limit: int = LIMIT) -> np.ndarray:
    """The array that was encoded, exactly.

    Args:
        data: what `encode` gave.
        engine: `numba`, `numpy`, or what there is; any reads what any wrote.
        limit: the most elements that room is made for.

    Raises:
        CodecError: the bytes are damaged, cut off or something else, or the array is larger than the limit.
        MissingExtraError: numba was asked for, and is not installed.
    """
    if len(data) < _HEAD.size or data[:4] != _MAGIC:
        raise _damaged("the header is missing")
    _, method, kind, rank, first, second, count = _HEAD.unpack_from(data)
    start = _HEAD.size + 8 * rank
    if method >= len(METHODS) or kind >= len(_DTYPES) or len(data) < start:
        raise _damaged("the header is not one that encode() writes")
    shape = struct.unpack_from(f"<{rank}q", data, _HEAD.size)
    size = _size(shape, limit)
    if not 0 <= count <= size or max(first, second) > 15:
        raise _damaged(f"it claims {count} of {size} elements")
    payload = np.frombuffer(data, np.uint8, offset=start)
    decoder, orders = _DECODERS[METHODS[method]], (int(first), int(second))
    return decoder(payload, _DTYPES[int(kind)], size, int(count), orders, loops_of(engine)).reshape(shape)


def _parts(array: np.ndarray) -> _Parts:
    if array.dtype not in _DTYPES or array.ndim > 255:
        names = ", ".join(dtype.name for dtype in _DTYPES)
        raise CodecError(
            f"An array of {array.dtype} with {array.ndim} axes cannot be encoded.", place="encode", remedy=f"Give one of {names}."
        )
    flat = np.ascontiguousarray(array).reshape(-1)
    places = np.flatnonzero(flat)
    return _Parts(array, flat, places, flat[places])


def _bodies(parts: _Parts) -> dict[Method, _Body]:
    count, size = len(parts.values), parts.flat.size
    bitmap = -(-size // 8)
    numbers = folded(parts.values)
    order, bits = best_order(numbers)
    runs = parts.runs
    run_order, run_bits = best_order(runs)

    def coded(loops: Loops) -> bytes:
        return _bitmap(parts) + _codes(numbers, (order,), bits, loops)

    def in_runs(loops: Loops) -> bytes:
        return _codes(np.stack([runs, numbers], 1).reshape(-1), (run_order, order), run_bits + bits, loops)

    return {
        "dense": _Body(parts.flat.nbytes, (0, 0), lambda _: parts.flat.tobytes()),
        "packed": _Body(bitmap + count * parts.flat.itemsize, (0, 0), lambda _: _bitmap(parts) + parts.values.tobytes()),
        "golomb": _Body(bitmap + -(-bits // 8), (order, 0), coded),
        "runs": _Body(-(-(run_bits + bits) // 8), (run_order, order), in_runs),
    }


def _bitmap(parts: _Parts) -> bytes:
    return np.packbits(parts.flat != 0).tobytes()


def _codes(numbers: np.ndarray, orders: tuple[int, ...], bits: int, loops: Loops) -> bytes:
    out = np.zeros(-(-bits // 8), np.uint8)
    loops.write_codes(numbers.astype(np.int64), np.array(orders, np.int64), out)
    return out.tobytes()


def _dense(payload: np.ndarray, dtype: np.dtype[np.generic], size: int, count: int, orders: tuple[int, int], loops: Loops) -> np.ndarray:
    del count, orders, loops
    if payload.nbytes != size * dtype.itemsize:
        raise _damaged(f"{payload.nbytes} bytes stand for {size} elements")
    return payload.view(dtype).copy()


def _from_bitmap(payload: np.ndarray, size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which elements are not zero, and what follows."""
    length = -(-size // 8)
    if payload.nbytes < length:
        raise _damaged("the bitmap is cut off")
    mask = np.unpackbits(payload[:length], count=size).astype(bool)
    if np.count_nonzero(mask) != count:
        raise _damaged("the bitmap and the header disagree")
    return mask, payload[length:]


def _packed(payload: np.ndarray, dtype: np.dtype[np.generic], size: int, count: int, orders: tuple[int, int], loops: Loops) -> np.ndarray:
    del orders, loops
    mask, rest = _from_bitmap(payload, size, count)
    if rest.nbytes != count * dtype.itemsize:
        raise _damaged(f"{rest.nbytes} bytes stand for {count} elements")
    flat = np.zeros(size, dtype)
    flat[mask] = np.frombuffer(rest.tobytes(), dtype)
    return flat


def _golomb(payload: np.ndarray, dtype: np.dtype[np.generic], size: int, count: int, orders: tuple[int, int], loops: Loops) -> np.ndarray:
    mask, rest = _from_bitmap(payload, size, count)
    flat = np.zeros(size, dtype)
    flat[mask] = _narrow(unfolded(_read(rest, (orders[0],), count, loops)), dtype)
    return flat


def _runs(payload: np.ndarray, dtype: np.dtype[np.generic], size: int, count: int, orders: tuple[int, int], loops: Loops) -> np.ndarray:
    if count > payload.nbytes * 4:
        raise _damaged(f"{payload.nbytes} bytes cannot hold {count} elements")
    pairs = _read(payload, orders, 2 * count, loops).reshape(-1, 2)
    places = np.cumsum(pairs[:, 0] + 1) - 1
    if count and not 0 <= int(places[-1]) < size:
        raise _damaged("its runs are longer than the array")
    flat = np.zeros(size, dtype)
    flat[places] = _narrow(unfolded(pairs[:, 1]), dtype)
    return flat


_Decoder: TypeAlias = "Callable[[np.ndarray, np.dtype[np.generic], int, int, tuple[int, int], Loops], np.ndarray]"
_DECODERS: Mapping[Method, _Decoder] = MappingProxyType({"dense": _dense, "packed": _packed, "golomb": _golomb, "runs": _runs})


def _read(payload: np.ndarray, orders: tuple[int, ...], count: int, loops: Loops) -> np.ndarray:
    out = np.zeros(count, np.int64)
    read = loops.read_codes(np.ascontiguousarray(payload), np.array(orders, np.int64), out) if count else 0
    if read < 0 or -(-read // 8) != payload.nbytes:
        raise _damaged("its codes do not fill it")
    return out


def _narrow(values: np.ndarray, dtype: np.dtype[np.generic]) -> np.ndarray:
    narrow = values.astype(dtype)
    if not np.array_equal(narrow, values):
        raise _damaged(f"a number does not fit {dtype}")
    return narrow


def _size(shape: tuple[int, ...], limit: int) -> int:
    size = 1
    for length in shape:
        if length < 0:
            raise _damaged(f"its shape is {list(shape)}")
        size *= length
    if size > limit:
        raise CodecError(
            f"The array has {size} elements, more than {limit}.", place="decode", remedy="Give a higher limit=, if you trust it."
        )
    return size


def _damaged(why: str) -> CodecError:
    return CodecError(f"The bytes are no encoded array, or damaged: {why}.", place="decode", remedy="Encode the array again.")
