"""Integers carried in floats: how a quantized program is trained.

An integer tensor has no gradient. While a program is trainable, the integers that quantized operators make and take are
floats that were rounded, and gradients pass straight through the rounding (Bengio et al., arXiv 1308.3432). Integer
weights are the rounding of latent float weights, which the optimizer sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

import ml_dtypes
import numpy as np
import onnx_ir
import torch

from netwright.backends.torch.binding import Latent
from netwright.backends.torch.dtypes import to_tensor
from netwright.backends.torch.ops.quantized import requantize
from netwright.backends.torch.ops.rounding import spread
from netwright.ir.opinfo import int_attr


def restore(x: torch.Tensor, *, dtype: torch.dtype) -> torch.Tensor:
    """True integers, for a reader that takes no others; no gradient."""
    return x.detach().round().to(dtype)


def round_latent(x: torch.Tensor, *, unit: float, low: int, high: int) -> torch.Tensor:
    """Latent weights in steps of `unit`, rounded and clipped; gradients pass where not clipped."""
    inside = (x / unit).clamp(low, high)
    return inside + (inside.round() - inside).detach()


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
        unit = _unit(value, reader) or 1.0 / max(1.0, float(np.abs(whole).max(initial=0.0)))
        return Latent(low, high, unit=unit), torch.from_numpy(whole) * unit
    axis, block = int_attr(reader, "axis", 1), int_attr(reader, "block_size", 0)
    latent = Latent(low, high, scale.name, None if zero is None else zero.name, axis, block)
    factor = spread(to_tensor(np.array(scale.const_value.numpy())).float(), whole.shape, axis, block)
    shift = (
        0.0
        if zero is None or zero.const_value is None
        else spread(to_tensor(np.array(zero.const_value.numpy())).float(), whole.shape, axis, block)
    )
    return latent, (torch.from_numpy(whole) - shift) * factor


def _unit(value: onnx_ir.Value, reader: onnx_ir.Node) -> float | None:
    """What a step of an integer weight is worth: of a bias, two scales' product; else the reader's next input, or what its result is
    multiplied by, where these are scales.

    Args:
        value: the integer weight.
        reader: the node that takes it.
    """
    if reader.op_type in _BIASED and value.dtype is onnx_ir.DataType.INT32:
        sizes = [_mean_size(reader.inputs[index]) for index in _BIASED[reader.op_type]]
        return None if None in sizes else float(np.prod(cast("list[float]", sizes)))
    place = next(index for index, given in enumerate(reader.inputs) if given is value)
    following = reader.inputs[place + 1] if place + 1 < len(reader.inputs) else None
    scale = _mean_size(following) or _mean_factor(reader.outputs[0], steps=3)
    return scale if scale and np.isfinite(scale) else None


_BIASED: Mapping[str, tuple[int, int]] = MappingProxyType({"QLinearConv": (1, 4), "QGemm": (1, 4)})
"""Operators with an integer bias in steps of the product of two of their scales."""


def _mean_factor(value: onnx_ir.Value, steps: int) -> float | None:
    """The mean size of the constant that a value is multiplied by, directly or after a cast, alone or times another."""
    uses = list(value.uses())
    if steps == 0 or len(uses) != 1:
        return None
    node = uses[0].node
    if node.op_type == "Cast":
        return _mean_factor(node.outputs[0], steps - 1)
    if node.op_type != "Mul":
        return None
    factors = [given for given in node.inputs if given is not None and given is not value]
    makers = [factor.producer() for factor in factors]
    factors += [given for maker in makers if maker is not None for given in maker.inputs if given is not None]
    return next((size for size in map(_mean_size, factors) if size), None)


def _mean_size(value: onnx_ir.Value | None) -> float | None:
    tensor = None if value is None else value.const_value
    if tensor is None or not tensor.dtype.is_floating_point() or tensor.size == 0:
        return None
    return float(np.abs(tensor.numpy().astype(np.float64)).mean())


def integers(x: torch.Tensor, latent: Latent, scale: torch.Tensor | None, zero_point: torch.Tensor | None) -> torch.Tensor:
    """The integers that latent weights stand for now, in floats."""
    with torch.no_grad():
        if scale is None:
            return round_latent(x, unit=latent.unit, low=latent.low, high=latent.high)
        return requantize(x, scale, zero_point, axis=latent.axis, block_size=latent.block_size, low=latent.low, high=latent.high)


def integer_range(dtype: onnx_ir.DataType) -> tuple[int, int]:
    """The smallest and largest number of an integer type."""
    kind = dtype.numpy()
    info = ml_dtypes.iinfo(kind) if kind.name in ("int4", "uint4", "int2", "uint2") else np.iinfo(kind)
    return int(info.min), int(info.max)
