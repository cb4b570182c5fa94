"""Maps that change the numbers: scaling, quantization, factors of matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import onnx_ir

from netwright.ir.maps.base import ValueMap, check, only


@dataclass(frozen=True, slots=True, eq=False)
class Affine(ValueMap):
    """`old · scale + shift`, element by element; scale and shift broadcast against the array and do not enlarge it.

    Folding a BatchNormalization into a convolution, a scale into a MatMul, or a bias correction are of this kind.
    """

    scale: float | np.ndarray = 1.0
    shift: float | np.ndarray = 0.0

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """`old · scale + shift`, in the old array's type."""
        array = only(arrays)
        result = array * self.scale + self.shift
        check(result.shape == array.shape, f"scale or shift enlarge {array.shape} to {result.shape}")
        return result.astype(array.dtype, copy=False)

    def inverse(self) -> ValueMap | None:
        """`(new − shift) / scale`, where no scale is zero."""
        scale = np.asarray(self.scale, dtype=np.float64)
        if not np.all(np.isfinite(scale)) or np.any(scale == 0):
            return None
        return Affine(plain(1.0 / scale), plain(-np.asarray(self.shift, dtype=np.float64) / scale))

    def describe(self) -> str:
        """What is multiplied and added."""
        scaled = f"scale by {brief(self.scale)}" if differs(self.scale, 1.0) else ""
        shifted = f"shift by {brief(self.shift)}" if differs(self.shift, 0.0) else ""
        return " ".join(filter(None, (scaled, shifted))) or "same"


@dataclass(frozen=True, slots=True, eq=False)
class Cast(ValueMap):
    """Another element type; with a scale, quantization: `clip(round(old / scale) + zero_point)` (ONNX QuantizeLinear).

    Attributes:
        dtype: name of the new type, as numpy or ml_dtypes call it (`int8`, `float16`, `uint4`).
        before: name of the old type, where known.
        scale: one number, a vector along `axis`, or, with `block_size`, an array with one scale a block of the axis.
        zero_point: in the scale's shape.
        axis: what the scales lie along.
        block_size: slices of the axis that share a scale; 0 for one scale a slice.
    """

    dtype: str
    before: str | None = None
    scale: float | np.ndarray | None = None
    zero_point: int | np.ndarray = 0
    axis: int | None = None
    block_size: int = 0

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """The array in its new type."""
        array = only(arrays)
        target = dtype_of(self.dtype)
        if self.scale is None:
            return array.astype(target)
        scale, zero_point = self._parameters(array)
        low, high = range_of(self.dtype)
        return np.clip(np.rint(array / scale) + zero_point, low, high).astype(target)

    def inverse(self) -> ValueMap | None:
        """The type before, where the new one holds all of its values and nothing was scaled."""
        if self.scale is not None or self.before is None or not np.can_cast(dtype_of(self.before), dtype_of(self.dtype), "safe"):
            return None
        return Cast(self.before, self.dtype)

    def reconstruct(self, array: np.ndarray) -> np.ndarray:
        """What the quantized numbers stand for: `(new − zero_point) · scale` (ONNX DequantizeLinear)."""
        target = dtype_of(self.before or "float32")
        if self.scale is None:
            return array.astype(target)
        scale, zero_point = self._parameters(array)
        return ((array.astype(np.float64) - zero_point) * scale).astype(target)

    def _parameters(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._spread(self.scale, array), self._spread(self.zero_point, array)

    def _spread(self, parameter: float | np.ndarray | None, array: np.ndarray) -> np.ndarray:
        """A scale or zero point in a shape that broadcasts against the array."""
        values = np.asarray(parameter, dtype=np.float64)
        if values.ndim == 0 or self.axis is None:
            return values
        if self.block_size:
            return values.repeat(self.block_size, axis=self.axis).take(range(array.shape[self.axis]), axis=self.axis)
        shape = [1] * array.ndim
        shape[self.axis] = -1
        return values.reshape(shape)

    def describe(self) -> str:
        """The type, and how it is scaled."""
        if self.scale is None:
            return f"cast to {self.dtype}"
        if np.ndim(self.scale) == 0:
            return f"quantize to {self.dtype} scale {brief(self.scale)}"
        grain = f"blocks of {self.block_size} along" if self.block_size else "per"
        return f"quantize to {self.dtype} {grain} axis {self.axis}"


@dataclass(frozen=True, slots=True, eq=False)
class Factor(ValueMap):
    """One of two factors of a matrix: W ≈ U V, W: [m, n], U: [m, rank], V: [rank, n].

    Without projections the factors are those of the truncated singular value decomposition, U = U_r Σ_r and V = V_rᵀ, each pair of
    singular vectors signed so that V's largest entry is positive. A pass that factorizes otherwise gives the projections
    that lead from W to its factor: `left @ W @ right`.

    Attributes:
        part: which factor.
        rank: the inner dimension.
        left: [k, m] or None.
        right: [n, k] or None.
    """

    part: Literal["u", "v"]
    rank: int
    left: np.ndarray | None = None
    right: np.ndarray | None = None

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """The factor."""
        array = only(arrays)
        check(array.ndim == 2, f"{array.ndim} axes; only matrices have factors")
        matrix = array.astype(np.float64)
        if self.left is None and self.right is None:
            factor = svd_factors(matrix, self.rank)[0 if self.part == "u" else 1]
            return factor.astype(array.dtype)
        if self.left is not None:
            matrix = self.left @ matrix
        if self.right is not None:
            matrix = matrix @ self.right
        return matrix.astype(array.dtype)

    def describe(self) -> str:
        """Which factor, of what rank."""
        return f"take {self.part.upper()} rank {self.rank}"


@dataclass(frozen=True, slots=True, eq=False)
class Merge(ValueMap):
    """The product of two factors: U V, U: [m, rank], V: [rank, n]."""

    @property
    def arity(self) -> int:
        """Two factors."""
        return 2

    def apply(self, *arrays: np.ndarray) -> np.ndarray:
        """`u @ v`."""
        u, v = arrays
        return u @ v

    def describe(self) -> str:
        """A product."""
        return "product"


def svd_factors(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """U = U_r Σ_r: [m, rank] and V = V_rᵀ: [rank, n], signed so that each row of V has a positive largest entry."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    signs = np.sign(vt[np.arange(len(vt)), np.abs(vt).argmax(axis=1)])
    signs[signs == 0] = 1
    return (u * s * signs)[:, :rank], (vt * signs[:, None])[:rank]


def plain(array: np.ndarray) -> float | np.ndarray:
    """A scalar as a float, an array as it is."""
    return float(array) if array.ndim == 0 else array


def differs(number: float | np.ndarray, neutral: float) -> bool:
    """True unless the number is the neutral one; of arrays always, for they fix a shape."""
    return bool(np.any(np.asarray(number) != neutral)) or np.ndim(number) > 0


def brief(number: float | np.ndarray | None) -> str:
    """A number in six digits, an array by its shape."""
    if number is None or np.ndim(number) == 0:
        return f"{float(cast('float', number)):.6g}"
    return f"array {list(np.shape(number))}"


def dtype_of(name: str) -> np.dtype:
    """A numpy type by name; ml_dtypes' by theirs."""
    return np.dtype(onnx_ir.DataType[_ONNX_NAMES.get(name, name.upper())].numpy())


_ONNX_NAMES: Mapping[str, str] = {"float32": "FLOAT", "float64": "DOUBLE", "str": "STRING", "object": "STRING"}


def range_of(name: str) -> tuple[int, int]:
    """The least and greatest number of an integer type."""
    signed = not name.startswith("u")
    bits = int("".join(filter(str.isdigit, name)))
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
