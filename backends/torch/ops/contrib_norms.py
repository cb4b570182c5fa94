"""Operators of com.microsoft: normalization of a sum."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.backends.torch.table import torch_op
from netwright.ir.schemas import CONTRIB_DOMAIN

_EPSILON = 1e-12


@torch_op("SkipLayerNormalization", domain=CONTRIB_DOMAIN)
def skip_layer_norm(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = _EPSILON,
    wanted: tuple[bool, ...] = (True,),
) -> tuple[Tensor | None, ...]:
    """Layer normalization (arXiv 1607.06450) of `x + skip + bias` over the last axis.

    Args:
        x: [B, S, H] or [T, H].
        skip: as x; or [S, H], [1, S, H] for all of the batch.
        gamma: [H].
        beta: [H].
        bias: [H].
        epsilon: added to the variance.
        wanted: which outputs are read.

    Returns:
        The result, the mean and 1 / √(var + ε) (both [..., 1], in float32), and the sum.
    """
    total = _total(x, skip, bias)
    if not any(wanted[1:3]):
        y = F.layer_norm(total, total.shape[-1:], gamma, beta, epsilon)
        return y, None, None, total
    normal, mean, inverse = torch.native_layer_norm(total, list(total.shape[-1:]), gamma, beta, epsilon)
    return normal, mean.float(), inverse.float(), total


@torch_op("SkipSimplifiedLayerNormalization", domain=CONTRIB_DOMAIN)
def skip_rms_norm(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    bias: Tensor | None = None,
    *,
    epsilon: float = _EPSILON,
    wanted: tuple[bool, ...] = (True,),
) -> tuple[Tensor | None, ...]:
    """Root mean square normalization (arXiv 1910.07467) of `x + skip + bias` over the last axis.

    Args:
        x: [B, S, H] or [T, H].
        skip: as x; or [S, H], [1, S, H] for all of the batch.
        gamma: [H].
        bias: [H].
        epsilon: added to the mean square.
        wanted: which outputs are read.

    Returns:
        The result, zeros for the mean, 1 / √(mean(x²) + ε) (both [..., 1], in float32), and the sum.
    """
    total = _total(x, skip, bias)
    y = F.rms_norm(total, list(total.shape[-1:]), gamma, epsilon)
    if not any(wanted[1:3]):
        return y, None, None, total
    inverse = torch.rsqrt(total.float().square().mean(dim=-1, keepdim=True) + epsilon)
    return y, torch.zeros_like(inverse), inverse, total


def _total(x: Tensor, skip: Tensor, bias: Tensor | None) -> Tensor:
    total = x + skip
    return total if bias is None else total + bias


@torch_op("EmbedLayerNormalization", domain=CONTRIB_DOMAIN)
def embed_layer_norm(
    input_ids: Tensor,
    segment_ids: Tensor | None,
    word_embedding: Tensor,
    position_embedding: Tensor,
    segment_embedding: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    *,
    epsilon: float = _EPSILON,
    mask_index_type: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """BERT's embedding: words, positions and segments added, layer normalization over the last axis.

    Args:
        input_ids: [B, S].
        segment_ids: [B, S].
        word_embedding: [words, H].
        position_embedding: [positions, H].
        segment_embedding: [segments, H].
        gamma: [H].
        beta: [H].
        mask: [B, S], 1 for tokens that count.
        position_ids: [B, S] or [1, S]; 0 to S − 1 by default.
        epsilon: added to the variance.
        mask_index_type: which form of mask the graph wants; there is one.

    Returns:
        The result [B, S, H], how many tokens count in each sample [B] (0 without a mask), and the sum before normalization.
    """
    positions = position_embedding[: input_ids.shape[1]] if position_ids is None else F.embedding(position_ids.long(), position_embedding)
    total = F.embedding(input_ids.long(), word_embedding) + positions
    if segment_embedding is not None and segment_ids is not None:
        total = total + F.embedding(segment_ids.long(), segment_embedding)
    y = F.layer_norm(total, total.shape[-1:], gamma, beta, epsilon)
    counts = input_ids.new_zeros(input_ids.shape[:1]) if mask is None else mask.sum(dim=1)
    return y, counts.to(torch.int32), total
