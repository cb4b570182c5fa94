"""An array for one input, by role, type and shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir

from netwright.ir.errors import DataError
from netwright.ir.opinfo import is_float, is_integer
from netwright.samples.roles import Role

_SMALL_ROWS = 2
"""Bound of integers of which nothing is known: any table has two rows."""
_SMALL_LENGTH = 4
_BYTES = frozenset({onnx_ir.DataType.UINT8, onnx_ir.DataType.INT8})

Make = Callable[[Role, tuple[int, ...], np.random.Generator], np.ndarray]


def make(
    value: onnx_ir.Value, role: Role, shape: tuple[int, ...], rng: np.random.Generator, limits: tuple[float, float] | None
) -> np.ndarray:
    """An array for an input.

    Args:
        value: the input.
        role: what it is for.
        shape: its shape.
        rng: where chance comes from.
        limits: integers from the first up to, but without, the second; floats between them. Overrides the role.

    Raises:
        DataError: a type for which nothing can be made up, or limits that leave nothing.
    """
    dtype = value.dtype
    if dtype is None:
        raise DataError(f"The program does not say which type {value.name!r} has.", place=f"input {value.name}", remedy="Give inputs.")
    if limits is not None:
        return _between(value, limits, shape, rng).astype(dtype.numpy())
    if dtype == onnx_ir.DataType.STRING:
        return np.full(shape, "a", dtype=object)
    if dtype == onnx_ir.DataType.BOOL:
        return np.ones(shape, dtype=bool)
    if is_float(dtype):
        return _FLOATS.get(role.kind, _normal)(role, shape, rng).astype(dtype.numpy())
    if is_integer(dtype):
        low_precision = role.kind == "plain" and dtype in _BYTES
        made = _bytes(dtype, shape, rng) if low_precision else _INTEGERS.get(role.kind, _few)(role, shape, rng)
        return made.astype(dtype.numpy())
    raise DataError(f"Nothing can be made up for {value.name!r}, {dtype.name.lower()}.", place=f"input {value.name}", remedy="Give inputs.")


def _between(value: onnx_ir.Value, limits: tuple[float, float], shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    low, high = limits
    if is_integer(value.dtype) or value.dtype == onnx_ir.DataType.BOOL:
        if int(high) <= int(low):
            raise DataError(
                f"No integer is at least {low:g} and below {high:g}.", place=f"range of {value.name}", remedy="The upper end is left out."
            )
        return rng.integers(int(low), int(high), shape)
    if high < low:
        raise DataError(f"The range {low:g} to {high:g} is empty.", place=f"range of {value.name}", remedy="Give the lower end first.")
    return rng.uniform(low, high, shape)


def _normal(role: Role, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(shape) if shape else np.ones(())


def _positive(role: Role, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.1, 1.0, shape)


def _zeros(role: Role, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return np.zeros(shape)


def _ones(role: Role, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return np.ones(shape)


def _index(role: Role, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, role.rows or _SMALL_ROWS, shape)


def _count_up(role: Role, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    row = np.arange(shape[-1] if shape else 1) % (role.rows or _SMALL_ROWS)
    return np.broadcast_to(row, shape) if shape else row.reshape(())


def _length(role: Role, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.integers(1, _SMALL_LENGTH + 1, shape)


def _compared(role: Role, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return np.full(shape, role.value if role.value is not None else 1)


def _few(role: Role, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, _SMALL_ROWS, shape)


def _bytes(dtype: onnx_ir.DataType, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """All values of a byte: pixels, or activations that are already quantized."""
    return rng.integers(int(dtype.min), int(dtype.max) + 1, shape)


_FLOATS: Mapping[str, Make] = {"mask": _ones, "state": _zeros, "positive": _positive}
_INTEGERS: Mapping[str, Make] = {"mask": _ones, "index": _index, "position": _count_up, "length": _length, "switch": _compared}
