"""Value maps of quantized weights."""

from __future__ import annotations

from collections.abc import Sequence
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


def record_bias(
    editor: Editor,
    sources: Sequence[tuple[onnx_ir.Value, float]],
    made: onnx_ir.Value,
    shape: tuple[int, ...],
    step: np.ndarray | None = None,
) -> None:
    """Say how a bias comes from constants: one is multiplied and shaped anew; to several that were added, or one number, no way leads back.

    Args:
        editor: the transaction.
        sources: constants that were added, each with its factor.
        made: the bias, of `shape`: one number for each channel.
        shape: that of `made`.
        step: where `made` is int32, in steps of so much: [channels] or [1].
    """
    sizes = [tuple(int(size) for size in source.shape or () if isinstance(size, int)) for source, _ in sources]
    count = int(np.prod(shape))
    if len(sources) != 1 or int(np.prod(sizes[0])) != count:
        for source, _ in sources:
            reason = f"added to others, or to all channels, in the bias %{made.name}"
            editor.map(source.name or "", Mapped(Gone(reason), (source.name or "",)))
        return
    (source, factor), size = sources[0], sizes[0]
    found: ValueMap = Same() if factor == 1.0 else Affine(scale=np.array(factor, np.float32))
    if size != shape:
        found = found.then(Reshape(shape, size))
    if step is not None:
        scale = step.reshape(-1)
        grain = (
            Cast("int32", _dtype_name(source), float(scale[0]))
            if scale.size == 1
            else Cast("int32", _dtype_name(source), scale, axis=len(shape) - 1)
        )
        found = found.then(grain)
    editor.map(made.name or "", Mapped(found, (source.name or "",)))


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
