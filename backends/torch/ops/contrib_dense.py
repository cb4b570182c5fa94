"""Operators of com.microsoft: products and convolutions with what follows them, GELUs, and a few plain ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.backends.torch.ops.convolution import conv
from netwright.backends.torch.ops.making import triangle
from netwright.backends.torch.ops.matmul import gemm
from netwright.backends.torch.ops.padding import pad
from netwright.backends.torch.ops.recurrent_activations import KINDS
from netwright.backends.torch.table import torch_op
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.schemas import CONTRIB_DOMAIN

Ints = Sequence[int]


@torch_op("FusedMatMul", domain=CONTRIB_DOMAIN)
@torch_op("TransposeMatMul", domain=CONTRIB_DOMAIN)
def fused_matmul(
    a: Tensor, b: Tensor, *, alpha: float = 1.0, transA: int = 0, transB: int = 0, transBatchA: int = 0, transBatchB: int = 0
) -> Tensor:
    """`alpha · A · B`, either factor transposed first.

    Args:
        a: [..., M, K]; with `transBatchA`, [M, ..., K].
        b: [..., K, N]; with `transBatchB`, [K, ..., N].
        alpha: factor.
        transA: swap the two axes of the matrices of a.
        transB: likewise of b.
        transBatchA: a's matrices begin with the first axis.
        transBatchB: likewise b's.
    """
    left = _turned(a, swapped=transA, batched=transBatchA)
    product = torch.matmul(left, _turned(b, swapped=transB, batched=transBatchB))
    return product if alpha == 1.0 else product * alpha


def _turned(x: Tensor, *, swapped: int, batched: int) -> Tensor:
    moved = x.movedim(0, -2) if batched else x
    return moved.transpose(-1, -2) if swapped and moved.dim() > 1 else moved


@torch_op("FusedGemm", domain=CONTRIB_DOMAIN)
def fused_gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """`f(alpha · A · B + beta · C)`; f by ONNX's name, with its alpha and beta. gamma belongs to no function that there is."""
    settings = tuple(one for one in (activation_alpha, activation_beta) if one is not None)
    return activated(gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB), activation, settings)


@torch_op("FusedConv", domain=CONTRIB_DOMAIN)
def fused_conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    z: Tensor | None = None,
    *,
    activation: str = "",
    activation_params: tuple[float, ...] = (),
    auto_pad: str = "NOTSET",
    dilations: Ints = (),
    group: int = 1,
    kernel_shape: Ints = (),
    pads: Ints = (),
    strides: Ints = (),
) -> Tensor:
    """`f(conv(x, w) + b + z)`; f by ONNX's name, with its alpha and beta, or Clip's bounds, in `activation_params`."""
    y = conv(x, w, b, auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides)
    return activated(y if z is None else y + z, activation, activation_params)


def activated(x: Tensor, name: str, settings: Sequence[float] = ()) -> Tensor:
    """An activation function by ONNX's name.

    Args:
        x: any shape.
        name: empty for none.
        settings: alpha and beta (for Clip, the bounds); defaults for those left out.

    Raises:
        UnsupportedModelError: there is no such function.
    """
    if not name:
        return x
    if name == "Clip":
        return x.clamp(*settings)
    if name == "HardSwish":
        return F.hardswish(x)
    kind = KINDS.get(name.lower())
    if kind is None:
        raise UnsupportedModelError(f"The torch backend has no activation {name!r}.", place="FusedGemm, FusedConv")
    defaults = [one for one in (kind.alpha, kind.beta) if one is not None]
    return kind.function(x, *settings[: len(defaults)], *defaults[len(settings) :])


# ---- GELUs ---------------------------------------------------------------------------------------------------------


@torch_op("Gelu", domain=CONTRIB_DOMAIN)
def gelu(x: Tensor) -> Tensor:
    """`x Φ(x)` (Hendrycks and Gimpel, arXiv 1606.08415)."""
    return F.gelu(x)


@torch_op("BiasGelu", domain=CONTRIB_DOMAIN)
def bias_gelu(a: Tensor, b: Tensor) -> Tensor:
    """`gelu(a + b)`."""
    return F.gelu(a + b)


@torch_op("FastGelu", domain=CONTRIB_DOMAIN)
def fast_gelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """`gelu(x + bias)` in its approximation by tanh."""
    return F.gelu(x if bias is None else x + bias, approximate="tanh")


@torch_op("QuickGelu", domain=CONTRIB_DOMAIN)
def quick_gelu(x: Tensor, *, alpha: float = 1.702) -> Tensor:
    """`x σ(alpha x)`."""
    return x * torch.sigmoid(alpha * x)


# ---- others --------------------------------------------------------------------------------------------------------


@torch_op("Inverse", domain=CONTRIB_DOMAIN)
def inverse(x: Tensor) -> Tensor:
    """Inverses of square matrices [..., n, n]."""
    wide = x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float32)
    return torch.inverse(wide).to(x.dtype)


@torch_op("Pad", domain=CONTRIB_DOMAIN, host=("pads", "value"), moves=("data",))
def pad_all(data: Tensor, pads: Ints, value: float | Sequence[float] | None = None, *, mode: str = "constant") -> Tensor:
    """As the standard's Pad, of all axes."""
    return pad(data, pads, value, mode=mode)


@torch_op("Trilu", domain=CONTRIB_DOMAIN, host=("k",), moves=("x",))
def trilu(x: Tensor, k: int | Ints = 0, *, upper: int = 1) -> Tensor:
    """As the standard's Trilu."""
    return triangle(x, k, upper=upper)
