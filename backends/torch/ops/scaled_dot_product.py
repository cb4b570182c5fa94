"""Scaled dot-product attention on heads: fused by torch where it can be, spelled out where more is asked for.

Shapes throughout: q [B, H, L, E], k [B, G, S, E], v [B, G, S, D] with H a multiple of G (grouped queries, arXiv 2305.13245).
A mask is boolean (true keeps) or added to the scores, and broadcasts to [B, H, L, S]. A query that may attend to no key
gives zeros, as ONNX has it since its 1.23 errata.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_LOW = frozenset({torch.float16, torch.bfloat16, torch.float32})


@dataclass(frozen=True, slots=True)
class Scores:
    """What a spelled-out attention gives.

    Attributes:
        output: [B, H, L, D].
        raw: the scaled products [B, H, L, S].
        capped: those after softcap.
        biased: those with the mask added.
        weights: the softmax.
    """

    output: Tensor
    raw: Tensor
    capped: Tensor
    biased: Tensor
    weights: Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *, scale: float | None = None, is_causal: bool = False) -> Tensor:
    """Attention in one fused call.

    Args:
        q: queries [B, H, L, E].
        k: keys [B, G, S, E].
        v: values [B, G, S, D].
        mask: of any rank up to 4.
        scale: factor of the products; `1/√E` by default.
        is_causal: query i sees keys 0 to i; only without a mask.
    """
    mask = for_kernel(mask)
    if q.shape[1] == k.shape[1]:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal, scale=scale)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal, scale=scale, enable_gqa=True)


def spell_out(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    scale: float | None = None,
    softcap: float = 0.0,
    precision: torch.dtype | None = None,
) -> Scores:
    """The same step by step, with what lies between: `softmax(cap(q kᵀ · scale) + mask) v`, cap(x) = softcap · tanh(x / softcap).

    Args:
        q: queries [B, H, L, E].
        k: keys [B, G, S, E].
        v: values [B, G, S, D].
        mask: of any rank up to 4.
        scale: factor of the products; `1/√E` by default.
        softcap: bound of the scores; 0 for none.
        precision: type in which the softmax is computed; that of the scores by default.
    """
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    root = math.sqrt(scale if scale is not None else q.shape[-1] ** -0.5)
    raw = (q * root) @ (k * root).transpose(-1, -2)
    capped = softcap * torch.tanh(raw / softcap) if softcap > 0 else raw
    bias = additive(mask, capped.dtype)
    biased = capped if bias is None else capped + bias
    weights = masked_softmax(biased if precision is None else biased.to(precision), bias).to(q.dtype)
    return Scores(weights @ v, raw, capped, biased, weights)


def masked_softmax(scores: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax over the last axis; rows in which a bias leaves no key are zero (and so is their gradient)."""
    if bias is None:
        return torch.softmax(scores, dim=-1)
    empty = (bias == -torch.inf).all(dim=-1, keepdim=True)
    return torch.softmax(scores.masked_fill(empty, 0.0), dim=-1).masked_fill(empty, 0.0)


def fuses(precision: torch.dtype | None, dtype: torch.dtype) -> bool:
    """Whether torch's fused kernel computes its softmax as precisely as asked: it takes float32, or the inputs' type if wider."""
    return precision is None or precision == dtype or precision in _LOW


# ---- masks -------------------------------------------------------------------------------------------------------


def window_mask(
    length: int,
    total: int,
    offset: int | Tensor,
    *,
    device: torch.device,
    causal: bool = False,
    left: int = -1,
    right: int = -1,
    valid: Tensor | None = None,
) -> Tensor | None:
    """Which keys each query may see: query i stands at position i + offset.

    Args:
        length: number of queries L.
        total: number of keys S.
        offset: position of the first query; one for all, or one for each of a batch [B].
        device: where the mask is made.
        causal: no key after the query's position.
        left: so many keys before it; −1 for all.
        right: so many after it; −1 for all.
        valid: number of keys that count [B].

    Returns:
        True where a query sees a key: [L, S], or [B, 1, L, S] where batches differ; None where all see all.
    """
    keys = torch.arange(total, device=device)
    start = offset.reshape(-1, 1, 1, 1) if isinstance(offset, Tensor) else offset
    ahead = torch.arange(length, device=device).unsqueeze(-1) + start - keys
    bounds = [bound for wanted, bound in ((causal, ahead >= 0), (left >= 0, ahead <= left), (right >= 0, ahead >= -right)) if wanted]
    if valid is not None:
        bounds.append(keys < valid.reshape(-1, 1, 1, 1))
    if not bounds:
        return None
    found = bounds[0]
    for bound in bounds[1:]:
        found = found & bound
    return found


def both(mask: Tensor | None, seen: Tensor | None) -> Tensor | None:
    """A mask of either kind, restricted to keys that are seen."""
    if mask is None or seen is None:
        return seen if mask is None else mask
    return mask & seen if mask.dtype == torch.bool else torch.where(seen, mask, -torch.inf)


def additive(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A mask as what is added to scores of a type: 0 where a boolean one keeps, else −∞."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -torch.inf)


def padded(mask: Tensor | None, total: int) -> Tensor | None:
    """A mask whose last axis may be too short, with the keys at the end masked."""
    if mask is None or mask.shape[-1] == total:
        return mask
    return F.pad(mask, (0, total - mask.shape[-1]), value=False if mask.dtype == torch.bool else -torch.inf)


def for_kernel(mask: Tensor | None) -> Tensor | None:
    """A mask as torch's fused kernels like it: of rank 2 or 4, and not repeated along any axis but the last.

    Repetitions that are a view (as Expand makes them) are undone: a kernel would copy them all, and broadcasts by itself.
    """
    if mask is None:
        return None
    for axis in range(mask.dim() - 1):
        if mask.stride(axis) == 0 and mask.shape[axis] > 1:
            mask = mask.narrow(axis, 0, 1)
    if mask.dim() in (2, 4):
        return mask
    return mask.reshape((1,) * ((2 if mask.dim() < 2 else 4) - mask.dim()) + tuple(mask.shape))


# ---- heads -------------------------------------------------------------------------------------------------------


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, L, H·E] → [B, H, L, E]."""
    return x.reshape((*x.shape[:2], heads, x.shape[2] // heads)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """[B, H, L, E] → [B, L, H·E]."""
    return x.transpose(1, 2).flatten(2)
