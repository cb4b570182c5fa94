"""Attention, and what keeps its cache. RotaryEmbedding stands in `rotary`; com.microsoft's attentions in `contrib_attention`."""

from __future__ import annotations

import torch
from torch import Tensor

from netwright.backends.torch.ops.scaled_dot_product import attend, both, fuses, join_heads, padded, spell_out, split_heads, window_mask
from netwright.backends.torch.table import torch_op


@torch_op("Attention", since=23, dtypes=("softmax_precision",), frozen=("attn_mask", "past_key", "past_value"))
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    nonpad_kv_seqlen: Tensor | None = None,
    *,
    is_causal: int = 0,
    q_num_heads: int = 0,
    kv_num_heads: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: torch.dtype | None = None,
    qk_matmul_output_mode: int = 0,
    left_window_size: int = -1,
    right_window_size: int = -1,
    wanted: tuple[bool, ...] = (),
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """`softmax(cap(q kᵀ · scale) + mask) v`, with grouped heads and a cache; ONNX operator sets 23 to 25.

    Runs through `F.scaled_dot_product_attention` unless scores are capped, asked for, or wanted in a softmax more precise
    than torch's.

    Args:
        q: [B, H, L, E], or [B, L, H·E] with `q_num_heads`.
        k: [B, G, S, E], or [B, S, G·E] with `kv_num_heads`.
        v: as k, with a width of its own.
        attn_mask: boolean (true keeps) or added; it broadcasts to [B, H, L, S], its last axis may be shorter.
        past_key: keys before k [B, G, P, E].
        past_value: values before v.
        nonpad_kv_seqlen: how many of the keys count [B].
        is_causal: query i sees keys up to i + P, or up to i + nonpad_kv_seqlen − L.
        q_num_heads: H.
        kv_num_heads: G.
        scale: factor of the products; `1/√E` by default.
        softcap: bound of the scores; 0 for none.
        softmax_precision: type of the softmax.
        qk_matmul_output_mode: what the last output is: 0 the products, 1 capped, 2 with the mask, 3 the softmax.
        left_window_size: so many keys before the query's position; −1 for all.
        right_window_size: so many after it.
        wanted: which outputs are read.

    Returns:
        The output in q's layout, all keys, all values, and the scores (None unless wanted).
    """
    flat = q.dim() == 3
    if flat:
        q, k, v = split_heads(q, q_num_heads), split_heads(k, kv_num_heads), split_heads(v, kv_num_heads)
    past = 0
    if past_key is not None and past_value is not None:
        past = past_key.shape[2]
        k, v = torch.cat([past_key, k], dim=2), torch.cat([past_value, v], dim=2)
    plain = (
        bool(is_causal)
        and attn_mask is None
        and past_key is None
        and nonpad_kv_seqlen is None
        and left_window_size < 0
        and right_window_size < 0
    )
    with_scores = any(wanted[3:])
    fused = softcap == 0 and not with_scores and fuses(softmax_precision, q.dtype)
    mask = padded(attn_mask, k.shape[2])
    if not (plain and fused):
        offset = past if nonpad_kv_seqlen is None or past_key is not None else nonpad_kv_seqlen - q.shape[2]
        seen = window_mask(
            q.shape[2],
            k.shape[2],
            offset,
            device=q.device,
            causal=bool(is_causal),
            left=left_window_size,
            right=right_window_size,
            valid=nonpad_kv_seqlen,
        )
        mask = both(mask, seen)
    if fused:
        output = attend(q, k, v, mask, scale=scale, is_causal=plain)
        return join_heads(output) if flat else output, k, v, None
    found = spell_out(q, k, v, mask, scale=scale, softcap=softcap, precision=softmax_precision)
    scores = (found.raw, found.capped, found.biased, found.weights)[qk_matmul_output_mode]
    return join_heads(found.output) if flat else found.output, k, v, scores


@torch_op("TensorScatter", since=24)
def tensor_scatter(
    past_cache: Tensor, update: Tensor, write_indices: Tensor | None = None, *, axis: int = -2, mode: str = "linear"
) -> Tensor:
    """A cache with an update written along an axis, from an index for each sample of the batch on.

    Args:
        past_cache: [B, …, M, …].
        update: the same but for the axis, where it is at most M long.
        write_indices: where each sample's update begins [B]; 0 by default.
        axis: the axis M.
        mode: `circular` wraps around at M.
    """
    axis = axis % past_cache.dim()
    steps = torch.arange(update.shape[axis], device=update.device)
    places = steps.unsqueeze(0) if write_indices is None else write_indices.unsqueeze(-1) + steps
    if mode == "circular":
        places = places % past_cache.shape[axis]
    shape = [1] * past_cache.dim()
    shape[0], shape[axis] = places.shape[0], update.shape[axis]
    return past_cache.scatter(axis, places.reshape(shape).expand(update.shape), update)
