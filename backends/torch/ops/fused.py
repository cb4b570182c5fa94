"""One call for several nodes: what `netwright.backends.torch.fuse` puts in the place of patterns."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.backends.torch.ops.scaled_dot_product import for_kernel


def fused_attention(
    q: Tensor,
    k_t: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    keep: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    scale: float = 1.0,
    transposed: bool = True,
    fill: float = -torch.inf,
    inverted: bool = False,
    dropout: float = 0.0,
    training: bool = False,
) -> Tensor:
    """`dropout(softmax(q kᵀ · scale + mask)) v` through `F.scaled_dot_product_attention`.

    Args:
        q: queries [..., L, E].
        k_t: keys, transposed [..., E, S] or not [..., S, E].
        v: values [..., S, D].
        mask: added to the scores, or boolean (true keeps).
        keep: where the scores stay; elsewhere `fill` takes their place.
        bias: added to the scores too.
        scale: factor of the products.
        transposed: whether the keys come transposed.
        fill: −∞, or a number beside which scores vanish.
        inverted: `keep` is true where `fill` goes.
        dropout: probability that a weight is dropped.
        training: whether any is dropped.
    """
    k = k_t.transpose(-1, -2) if transposed else k_t
    seen = _combined(mask if bias is None or mask is None else mask + bias, keep, q, fill=fill, inverted=inverted)
    drop = dropout if training else 0.0
    if q.dim() != 3:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=_four(seen, q), dropout_p=drop, scale=scale)
    operands = (one.unsqueeze(0) for one in (q, k, v))
    return F.scaled_dot_product_attention(*operands, attn_mask=for_kernel(seen), dropout_p=drop, scale=scale).squeeze(0)


def fused_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, transposed: bool) -> Tensor:
    """`x Wᵀ + b` for W [out, in] if `transposed`, else `x W + b` for W [in, out].

    Args:
        x: [..., in].
        weight: as an initializer holds it.
        bias: [out].
        transposed: the graph transposes the weight before the product, which `F.linear` does itself.
    """
    return F.linear(x, _laid_out(weight if transposed else weight.t()), bias)


_THIN = 4
"""By how much one side of a weight must be longer for its layout to matter."""


def _laid_out(weight: Tensor) -> Tensor:
    """A thin weight [out, in] copied, where need be, so that rows lie along its longer side; as it is outside of training.

    The weight's gradient is computed in the weight's own layout, and on CPUs the product with few rows is up to four times as fast as
    the one with few columns: of a factor with inner size 8, forward and backward pass together take half the time.
    """
    outputs, inputs = weight.shape
    if not (torch.is_grad_enabled() and weight.requires_grad and weight.device.type == "cpu"):
        return weight
    if inputs >= _THIN * outputs:
        return weight.contiguous()
    return weight.t().contiguous().t() if outputs >= _THIN * inputs else weight


def _combined(mask: Tensor | None, keep: Tensor | None, like: Tensor, *, fill: float, inverted: bool) -> Tensor | None:
    if keep is None:
        return mask
    kept = ~keep if inverted else keep
    if mask is None and fill == -torch.inf:
        return kept
    return torch.where(kept, torch.zeros((), dtype=like.dtype, device=like.device) if mask is None else mask, fill)


def _four(mask: Tensor | None, q: Tensor) -> Tensor | None:
    return for_kernel(mask) if q.dim() == 4 else mask
