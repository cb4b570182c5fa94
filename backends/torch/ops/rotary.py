"""Rotary position embedding (arXiv 2104.09864): pairs of features turned by an angle that grows with the position."""

from __future__ import annotations

import torch
from torch import Tensor

from netwright.backends.torch.ops.scaled_dot_product import join_heads, split_heads
from netwright.backends.torch.table import torch_op


@torch_op("RotaryEmbedding", since=23, frozen=("cos_cache", "sin_cache"))
def rotary_embedding(
    x: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    position_ids: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """Turn x by its positions' angles.

    Args:
        x: [B, H, L, E], or [B, L, H·E] with `num_heads`.
        cos_cache: [B, L, R/2], or a table [positions, R/2] with `position_ids`.
        sin_cache: as cos_cache.
        position_ids: [B, L].
        interleaved: pairs are neighbours rather than the two halves.
        num_heads: H.
        rotary_embedding_dim: R, how many features are turned; 0 for all.
    """
    flat = x.dim() == 3
    heads = split_heads(x, num_heads) if flat else x
    cos, sin = (cache if position_ids is None else cache[position_ids] for cache in (cos_cache, sin_cache))
    turned = turn(heads, cos.unsqueeze(1), sin.unsqueeze(1), interleaved=bool(interleaved), width=rotary_embedding_dim)
    return join_heads(turned) if flat else turned


def turn(x: Tensor, cos: Tensor, sin: Tensor, *, interleaved: bool, width: int = 0) -> Tensor:
    """Turn the first `width` features (0: all) of x [..., E]; cos and sin broadcast to [..., width / 2]."""
    rotated, kept = (x, None) if width in (0, x.shape[-1]) else (x[..., :width], x[..., width:])
    if interleaved:
        one, two = rotated[..., 0::2], rotated[..., 1::2]
        turned = torch.stack([one * cos - two * sin, one * sin + two * cos], dim=-1).flatten(-2)
    else:
        one, two = rotated.chunk(2, dim=-1)
        turned = torch.cat([one * cos - two * sin, one * sin + two * cos], dim=-1)
    return turned if kept is None else torch.cat([turned, kept], dim=-1)
