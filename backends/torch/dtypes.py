"""Element types: ONNX's as torch's, and arrays to tensors and back, types that only ml_dtypes knows included."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import ml_dtypes
import numpy as np
import onnx_ir
import torch

from netwright.ir.errors import NetwrightError

if TYPE_CHECKING:
    from collections.abc import Mapping

_Onnx = onnx_ir.DataType

DTYPES: Mapping[onnx_ir.DataType, torch.dtype] = MappingProxyType(
    {
        _Onnx.FLOAT: torch.float32,
        _Onnx.DOUBLE: torch.float64,
        _Onnx.FLOAT16: torch.float16,
        _Onnx.BFLOAT16: torch.bfloat16,
        _Onnx.FLOAT8E4M3FN: torch.float8_e4m3fn,
        _Onnx.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
        _Onnx.FLOAT8E5M2: torch.float8_e5m2,
        _Onnx.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
        _Onnx.FLOAT8E8M0: torch.float8_e8m0fnu,
        _Onnx.INT8: torch.int8,
        _Onnx.INT16: torch.int16,
        _Onnx.INT32: torch.int32,
        _Onnx.INT64: torch.int64,
        _Onnx.UINT8: torch.uint8,
        _Onnx.UINT16: torch.uint16,
        _Onnx.UINT32: torch.uint32,
        _Onnx.UINT64: torch.uint64,
        _Onnx.BOOL: torch.bool,
        _Onnx.COMPLEX64: torch.complex64,
        _Onnx.COMPLEX128: torch.complex128,
        _Onnx.INT4: torch.int8,
        _Onnx.UINT4: torch.uint8,
        _Onnx.INT2: torch.int8,
        _Onnx.UINT2: torch.uint8,
    }
)
"""torch's type for each of ONNX's; integers of 4 and 2 bits lie in bytes."""

IN_BYTES = frozenset({_Onnx.INT4, _Onnx.UINT4, _Onnx.INT2, _Onnx.UINT2})
"""Types of which torch's do not tell the range."""

_BY_BITS: Mapping[str, tuple[type[np.generic], torch.dtype]] = MappingProxyType(
    {
        "bfloat16": (np.uint16, torch.bfloat16),
        "float8_e4m3fn": (np.uint8, torch.float8_e4m3fn),
        "float8_e4m3fnuz": (np.uint8, torch.float8_e4m3fnuz),
        "float8_e5m2": (np.uint8, torch.float8_e5m2),
        "float8_e5m2fnuz": (np.uint8, torch.float8_e5m2fnuz),
        "float8_e8m0fnu": (np.uint8, torch.float8_e8m0fnu),
    }
)
_WIDENED: Mapping[str, type[np.generic]] = MappingProxyType({"int4": np.int8, "uint4": np.uint8, "int2": np.int8, "uint2": np.uint8})


def torch_dtype(code: int | onnx_ir.DataType) -> torch.dtype:
    """Torch's type for an ONNX type.

    Raises:
        NetwrightError: torch has none (strings, 4-bit floats).
    """
    found = DTYPES.get(onnx_ir.DataType(code))
    if found is None:
        raise NetwrightError(f"torch has no element type {onnx_ir.DataType(code).name}.", remedy="Cast it away before lowering to torch.")
    return found


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor that shares an array's memory where it can: writable arrays of types that torch knows.

    Raises:
        NetwrightError: torch has no such element type.
    """
    name = array.dtype.name
    if name in _BY_BITS:
        bits, dtype = _BY_BITS[name]
        return torch.from_numpy(_owned(array.view(bits))).view(dtype)
    if name in _WIDENED:
        return torch.from_numpy(array.astype(_WIDENED[name]))
    if array.dtype.kind not in "biufc":
        raise NetwrightError(f"torch has no element type {array.dtype}.", remedy="Cast it away before lowering to torch.")
    return torch.from_numpy(_owned(array))


def to_array(tensor: torch.Tensor, dtype: onnx_ir.DataType | None = None) -> np.ndarray:
    """An array of a tensor's values, of an ONNX type where one is given (needed for 4-bit integers).

    Args:
        tensor: on any device; its gradient history is left behind.
        dtype: the type that the array is to have.
    """
    plain = tensor.detach().cpu().contiguous().resolve_conj()
    by_dtype = {kind: (bits, name) for name, (bits, kind) in _BY_BITS.items()}
    if plain.dtype in by_dtype:
        bits, name = by_dtype[plain.dtype]
        raw = plain.view(torch.int16 if bits is np.uint16 else torch.uint8).numpy()
        found = raw.view(bits).view(cast("np.dtype[np.generic]", np.dtype(getattr(ml_dtypes, name))))
    else:
        found = plain.numpy()
    return found if dtype is None else found.astype(dtype.numpy(), copy=False)


def _owned(array: np.ndarray) -> np.ndarray:
    """An array that torch may share: contiguous, writable, in the machine's byte order."""
    native = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    return (
        np.require(native, requirements=["C", "W", "O"])
        if not native.flags.writeable
        else np.ascontiguousarray(native).reshape(native.shape)
    )
