"""Value maps of quantized weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.maps import Affine, Cast, Gone, Mapped, Permute, Reshape, Same, ValueMap

if TYPE_CHECKING:
    from netwright.ir.editor import Editor


def record(
    editor: Editor,
    weight: onnx_ir.Value,
    values: onnx_ir.Value,
    scale: np.ndarray,
    axis: int,
    *,
    factors: np.ndarray | None,
    perm: tuple[int, ...] = (),
) -> None:
    """Say how int8 `values` come from `weight`: rows multiplied by `factors`, cast with `scale`, axes in the order `perm`.

    Args:
        editor: the transaction.
        weight: as it was.
        values: what replaces it.
        scale: a vector along `axis` of the weight, or [1].
        axis: of the weight, as it was.
        factors: of the shape that broadcasts against the weight, or None.
        perm: new order of the axes; none where it stays.
    """
    before = _dtype_name(weight)
    found: ValueMap = Same() if factors is None else Affine(scale=factors)
    grain = Cast("int8", before, float(scale.reshape(-1)[0])) if scale.size == 1 else Cast("int8", before, scale.reshape(-1), axis=axis)
    found = found.then(grain)
    if perm:
        found = found.then(Permute(perm))
    editor.map(values.name or "", Mapped(found, (weight.name or "",)))


def record_lstm(
    editor: Editor,
    weight: onnx_ir.Value,
    values: onnx_ir.Value,
    scale: np.ndarray,
    shape: tuple[int, int, int],
    factors: np.ndarray | None = None,
) -> None:
    """Say how int8 `values` [directions, inputs, gates] come from an LSTM's weight of `shape` [directions, gates, inputs].

    `scale` is [directions * gates]; inputs are multiplied by `factors`, [inputs], before.
    """
    directions, gates, inputs = shape
    flat = (directions * gates, inputs)
    start: ValueMap = Same() if factors is None else Affine(scale=factors)
    found = (
        start.then(Reshape(flat, shape))
        .then(Cast("int8", _dtype_name(weight), scale, axis=0))
        .then(Reshape(shape, flat))
        .then(Permute((0, 2, 1)))
    )
    editor.map(values.name or "", Mapped(found, (weight.name or "",)))


def record_blocks(editor: Editor, weight: onnx_ir.Value, values: onnx_ir.Value, bits: int, block_size: int) -> None:
    """Say that a weight went into packed blocks, from which no value map leads back."""
    reason = f"packed as {bits}-bit integers in blocks of {block_size} (%{values.name})"
    editor.map(weight.name or "", Mapped(Gone(reason), (weight.name or "",)))


def _dtype_name(weight: onnx_ir.Value) -> str:
    dtype = weight.dtype
    return dtype.numpy().name if dtype is not None else "float32"
