"""Integers carried in floats: how a quantized program is trained.

An integer tensor has no gradient. While a program is trainable, the integers that quantized operators make and take are
floats that were rounded, and gradients pass straight through the rounding (Bengio et al., arXiv 1308.3432). Integer
weights are the rounding of latent float weights, which the optimizer sees.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir
import torch

from netwright.backends.torch.binding import Latent
from netwright.backends.torch.dtypes import to_tensor
from netwright.backends.torch.ops.quantized import requantize
from netwright.ir.opinfo import int_attr


def restore(x: torch.Tensor, *, dtype: torch.dtype) -> torch.Tensor:
    """True integers, for a reader that takes no others; no gradient."""
    return x.detach().round().to(dtype)


def round_latent(x: torch.Tensor, *, low: int, high: int) -> torch.Tensor:
    """Latent weights in units of the integers, rounded and clipped; gradients pass where not clipped."""
    inside = x.clamp(low, high)
    return inside + (inside.round() - inside).detach()


def requantize_latent(
    x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor | None, *, axis: int, block_size: int, low: int, high: int
) -> torch.Tensor:
    """Latent weights in real units as integers: clip(round(x / scale) + zero_point, low, high)."""
    return requantize(x, scale, zero_point, axis=axis, block_size=block_size, low=low, high=high)


def latent_of(value: onnx_ir.Value, reader: onnx_ir.Node) -> tuple[Latent, torch.Tensor]:
    """How an integer weight comes from floats, and those floats as they are now.

    Args:
        value: the integer initializer.
        reader: a node that takes it.
    """
    tensor = value.const_value
    assert tensor is not None, "roles gives only initializers with values"
    low, high = integer_range(tensor.dtype)
    whole = tensor.numpy().astype(np.float32)
    scale = reader.inputs[1] if reader.op_type == "DequantizeLinear" and not reader.domain else None
    zero = reader.inputs[2] if scale is not None and len(reader.inputs) > 2 else None
    if scale is None or scale.const_value is None or (zero is not None and zero.const_value is None):
        return Latent(low, high), torch.from_numpy(whole)
    axis, block = int_attr(reader, "axis", 1), int_attr(reader, "block_size", 0)
    latent = Latent(low, high, scale.name, None if zero is None else zero.name, axis, block)
    factor = spread(to_tensor(np.array(scale.const_value.numpy())).float(), whole.shape, axis, block)
    shift = (
        0.0
        if zero is None or zero.const_value is None
        else spread(to_tensor(np.array(zero.const_value.numpy())).float(), whole.shape, axis, block)
    )
    return latent, (torch.from_numpy(whole) - shift) * factor


def integers(x: torch.Tensor, latent: Latent, scale: torch.Tensor | None, zero_point: torch.Tensor | None) -> torch.Tensor:
    """The integers that latent weights stand for now, in floats."""
    with torch.no_grad():
        if scale is None:
            return round_latent(x, low=latent.low, high=latent.high)
        return requantize_latent(x, scale, zero_point, axis=latent.axis, block_size=latent.block_size, low=latent.low, high=latent.high)


def integer_range(dtype: onnx_ir.DataType) -> tuple[int, int]:
    """The smallest and largest number of an integer type."""
    kind = dtype.numpy()
    info = ml_dtypes.iinfo(kind) if kind.name in ("int4", "uint4", "int2", "uint2") else np.iinfo(kind)
    return int(info.min), int(info.max)


def spread(x: torch.Tensor, shape: tuple[int, ...], axis: int, block_size: int) -> torch.Tensor:
    """Scales or zero points so that they broadcast against a tensor of some shape.

    Args:
        x: of rank 0 (or one element): for all; of rank 1: for each index of `axis`; else one for each block of `axis`.
        shape: the tensor's.
        axis: see above.
        block_size: length of a block; 0 where there are none.
    """
    if x.numel() == 1:
        return x.reshape(())
    if block_size:
        return x.repeat_interleave(block_size, dim=axis).narrow(axis, 0, shape[axis])
    return x.reshape([-1 if place == axis % len(shape) else 1 for place in range(len(shape))])
