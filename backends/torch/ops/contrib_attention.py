"""Attentions of com.microsoft, through `F.scaled_dot_product_attention` wherever scores are not asked for, capped or sunk.

Shapes throughout: B samples, S new tokens, P past ones, T = P + S keys, N heads of H features, G heads of keys and values.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.backends.torch.ops.contrib_quantized import matmul_integer_to_float
from netwright.backends.torch.ops.rotary import turn
from netwright.backends.torch.ops.scaled_dot_product import additive, attend, both, join_heads, spell_out, split_heads, window_mask
from netwright.backends.torch.table import torch_op
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.schemas import CONTRIB_DOMAIN

_FILTER = -10000.0
"""What ONNX Runtime adds to scores that a mask hides, unless told otherwise."""
_WEIGHTS = 2
"""GroupQueryAttention's `qk_output` for the softmax; 1 is for what enters it."""


# ---- one product for queries, keys and values ----------------------------------------------------------------------


@torch_op("Attention", domain=CONTRIB_DOMAIN, frozen=("mask_index", "past", "attention_bias"))
def attention_with_projection(
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    mask_index: Tensor | None = None,
    past: Tensor | None = None,
    attention_bias: Tensor | None = None,
    past_sequence_length: Tensor | None = None,
    *,
    num_heads: int,
    do_rotary: int = 0,
    mask_filter_value: float = _FILTER,
    past_present_share_buffer: int = 0,
    qkv_hidden_sizes: tuple[int, ...] = (),
    rotary_embedding_dim: int = 0,
    scale: float = 0.0,
    unidirectional: int = 0,
    wanted: tuple[bool, ...] = (True,),
) -> tuple[Tensor, Tensor | None]:
    """Attention of a sequence to itself, with the projection of queries, keys and values.

    Args:
        x: [B, S, I].
        weights: [I, widths of queries, keys and values together].
        bias: of those widths.
        mask_index: which keys count: see `key_mask`.
        past: earlier keys and values [2, B, N, P, H].
        attention_bias: added to the scores [B or 1, N or 1, S, T].
        past_sequence_length: belongs to a shared buffer.
        num_heads: N.
        do_rotary: rotary positions; not supported.
        mask_filter_value: what is added to hidden scores.
        past_present_share_buffer: past and present share memory; not supported.
        qkv_hidden_sizes: the three widths; equal ones by default.
        rotary_embedding_dim: belongs to `do_rotary`.
        scale: factor of the products; 1 / √H by default.
        unidirectional: a token sees none after it.
        wanted: which outputs are read.

    Returns:
        [B, S, width of values], and all keys and values [2, B, N, T, H] where wanted.

    Raises:
        UnsupportedModelError: rotary positions or shared buffers, which ONNX Runtime's CPU provider does not run either.
    """
    _refuse(
        "Attention",
        do_rotary=do_rotary,
        past_present_share_buffer=past_present_share_buffer,
        past_sequence_length=past_sequence_length is not None,
    )
    projected = torch.matmul(x, weights)
    return _self_attention(
        projected if bias is None else projected + bias,
        mask_index,
        past,
        attention_bias,
        heads=num_heads,
        widths=qkv_hidden_sizes,
        filtered=mask_filter_value,
        scale=scale,
        causal=bool(unidirectional),
        with_present=any(wanted[1:]),
    )


@torch_op("QAttention", domain=CONTRIB_DOMAIN, carries=("x", "weight", "x_zero_point", "weight_zero_point"), frozen=("mask_index", "past"))
def quantized_attention(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    x_scale: Tensor,
    weight_scale: Tensor,
    mask_index: Tensor | None = None,
    x_zero_point: Tensor | None = None,
    weight_zero_point: Tensor | None = None,
    past: Tensor | None = None,
    *,
    num_heads: int,
    do_rotary: int = 0,
    mask_filter_value: float = _FILTER,
    past_present_share_buffer: int = 0,
    scale: float = 0.0,
    unidirectional: int = 0,
    wanted: tuple[bool, ...] = (True,),
) -> tuple[Tensor, Tensor | None]:
    """As Attention, the projection being of integers; see `attention_with_projection` and MatMulIntegerToFloat.

    Raises:
        UnsupportedModelError: rotary positions or shared buffers.
    """
    _refuse("QAttention", do_rotary=do_rotary, past_present_share_buffer=past_present_share_buffer)
    projected = matmul_integer_to_float(x, weight, x_scale.reshape(()), weight_scale, x_zero_point, weight_zero_point, bias)
    return _self_attention(
        projected,
        mask_index,
        past,
        None,
        heads=num_heads,
        widths=(),
        filtered=mask_filter_value,
        scale=scale,
        causal=bool(unidirectional),
        with_present=any(wanted[1:]),
    )


def _self_attention(
    projected: Tensor,
    mask_index: Tensor | None,
    past: Tensor | None,
    bias: Tensor | None,
    *,
    heads: int,
    widths: tuple[int, ...],
    filtered: float,
    scale: float,
    causal: bool,
    with_present: bool,
) -> tuple[Tensor, Tensor | None]:
    parts = torch.split(projected, list(widths), dim=-1) if widths else torch.chunk(projected, 3, dim=-1)
    q, k, v = (split_heads(part, heads) for part in parts)
    if past is not None:
        k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
    mask = key_mask(mask_index, k.shape[0], k.shape[2], filtered, q.dtype)
    y = masked_attention(q, k, v, _sum(mask, bias), causal=causal, scale=scale or None)
    return join_heads(y), torch.stack([k, v]) if with_present else None


# ---- separate queries, keys and values -----------------------------------------------------------------------------


@torch_op("MultiHeadAttention", domain=CONTRIB_DOMAIN, frozen=("key_padding_mask", "attention_bias", "past_key", "past_value"))
def multi_head_attention(
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    bias: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    attention_bias: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    past_sequence_length: Tensor | None = None,
    cache_indirection: Tensor | None = None,
    *,
    num_heads: int,
    mask_filter_value: float = _FILTER,
    scale: float = 0.0,
    unidirectional: int = 0,
    wanted: tuple[bool, ...] = (True,),
) -> tuple[Tensor | None, ...]:
    """Attention of projected queries to projected keys and values.

    Args:
        query: [B, S, N·H], or [B, S, N, 3, H] with keys and values in it.
        key: [B, S', N·H], [B, S', N, 2, H] with values in it, or [B, N, S', H] as they are to be.
        value: [B, S', N·D], or [B, N, S', D] as they are to be.
        bias: of queries, keys and values, in one row.
        key_padding_mask: which keys count: see `key_mask`.
        attention_bias: added to the scores [B or 1, N or 1, S, T].
        past_key: [B, N, P, H].
        past_value: [B, N, P, D].
        past_sequence_length: belongs to a shared buffer; not supported.
        cache_indirection: belongs to beam search; not supported.
        num_heads: N.
        mask_filter_value: what is added to hidden scores.
        scale: factor of the products; 1 / √H by default.
        unidirectional: a token sees none after it.
        wanted: which outputs are read.

    Returns:
        [B, S, N·D], all keys, all values, and the scores that enter the softmax [B, N, S, T] where wanted.

    Raises:
        UnsupportedModelError: shared buffers or beam search.
    """
    _refuse(
        "MultiHeadAttention",
        past_sequence_length=past_sequence_length is not None,
        cache_indirection=cache_indirection is not None,
    )
    q, k, v = _biased(query, key, value, bias, num_heads)
    if past_key is not None and past_value is not None:
        k, v = torch.cat([past_key, k], dim=2), torch.cat([past_value, v], dim=2)
    mask = _sum(key_mask(key_padding_mask, k.shape[0], k.shape[2], mask_filter_value, q.dtype), attention_bias)
    if not any(wanted[3:]):
        return join_heads(masked_attention(q, k, v, mask, causal=bool(unidirectional), scale=scale or None)), k, v, None
    seen = _causal(q, k) if unidirectional else None
    found = spell_out(q, k, v, both(mask, seen), scale=scale or None)
    return join_heads(found.output), k, v, found.biased


def _biased(query: Tensor, key: Tensor | None, value: Tensor | None, bias: Tensor | None, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values on heads [B, N, S, H], their biases added; keys that come on heads have theirs."""
    if query.dim() == 5:
        q, k, v = (part.flatten(2) for part in query.unbind(dim=3))
    elif key is not None and key.dim() == 5:
        q, (k, v) = query, (part.flatten(2) for part in key.unbind(dim=3))
    else:
        q, k, v = query, _given(key), _given(value)
    if bias is not None:
        width = q.shape[-1]
        q = q + bias[:width]
        k = k if k.dim() == 4 else k + bias[width : 2 * width]
        v = v if v.dim() == 4 else v + bias[2 * width :]
    k, v = (part if part.dim() == 4 else split_heads(part, heads) for part in (k, v))
    return split_heads(q, heads), k, v


def _given(x: Tensor | None) -> Tensor:
    if x is None:
        raise UnsupportedModelError("MultiHeadAttention needs keys and values.", place="MultiHeadAttention", remedy="Give inputs 1 and 2.")
    return x


# ---- grouped queries -----------------------------------------------------------------------------------------------


@torch_op(
    "GroupQueryAttention",
    domain=CONTRIB_DOMAIN,
    host=("total_sequence_length",),
    frozen=("past_key", "past_value", "cos_cache", "sin_cache", "attention_bias"),
)
def group_query_attention(
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    past_key: Tensor | None,
    past_value: Tensor | None,
    seqlens_k: Tensor,
    total_sequence_length: int | list[int],
    cos_cache: Tensor | None = None,
    sin_cache: Tensor | None = None,
    position_ids: Tensor | None = None,
    attention_bias: Tensor | None = None,
    head_sink: Tensor | None = None,
    k_scale: Tensor | None = None,
    v_scale: Tensor | None = None,
    q_norm_weight: Tensor | None = None,
    k_norm_weight: Tensor | None = None,
    *,
    num_heads: int,
    kv_num_heads: int,
    causal: int = 1,
    do_rotary: int = 0,
    k_quant_type: str = "NONE",
    kv_cache_bit_width: int = 0,
    local_window_size: int = -1,
    qk_norm_epsilon: float = 1e-6,
    qk_output: int = 0,
    rotary_interleaved: int = 0,
    scale: float = 0.0,
    sliding_window_cache: int = 0,
    smooth_softmax: int = -1,
    softcap: float = 0.0,
    v_quant_type: str = "NONE",
    wanted: tuple[bool, ...] = (True,),
) -> tuple[Tensor | None, ...]:
    """Causal attention with grouped queries (arXiv 2305.13245), rotary positions, a cache, windows, caps and sinks.

    Args:
        query: [B, S, N·H], or [B, S, (N + 2G)·H] with keys and values in it.
        key: [B, S, G·H].
        value: [B, S, G·H].
        past_key: [B, G, P, H], the first tokens of which count.
        past_value: as past_key.
        seqlens_k: how many keys count in each sample, the new ones included, less 1 [B].
        total_sequence_length: the largest number of keys that count.
        cos_cache: [positions, R/2].
        sin_cache: as cos_cache.
        position_ids: [B, S]; by default those that follow the past.
        attention_bias: added to the scores [B or 1, N or 1, S, T].
        head_sink: score of a key without value, for each head [N].
        k_scale: of a quantized cache; not supported.
        v_scale: of a quantized cache; not supported.
        q_norm_weight: root mean square normalization of each query [H], before the rotation.
        k_norm_weight: likewise of each key.
        num_heads: N.
        kv_num_heads: G.
        causal: a token sees none after it.
        do_rotary: turn queries and keys by their positions.
        k_quant_type: how a quantized cache is made; not supported.
        kv_cache_bit_width: of a quantized cache.
        local_window_size: so many keys up to the token itself are seen; −1 for all.
        qk_norm_epsilon: added to the mean squares.
        qk_output: what the last output is: 1 scores, 2 weights.
        rotary_interleaved: pairs are neighbours rather than halves.
        scale: factor of the products; 1 / √H by default.
        sliding_window_cache: the cache is a ring; not supported.
        smooth_softmax: 1 for a sink of score 0.
        softcap: bound of the scores; 0 for none.
        v_quant_type: as k_quant_type.
        wanted: which outputs are read.

    Returns:
        [B, S, N·H], all keys and values [B, G, T, H], and scores or weights where wanted.

    Raises:
        UnsupportedModelError: a quantized cache, or one that is a ring.
    """
    _refuse(
        "GroupQueryAttention",
        k_quant_type=k_quant_type != "NONE" or k_scale is not None,
        v_quant_type=v_quant_type != "NONE" or v_scale is not None,
        sliding_window_cache=sliding_window_cache,
    )
    q, k, v = _grouped(query, key, value, num_heads, kv_num_heads)
    if q_norm_weight is not None:
        q = F.rms_norm(q, list(q.shape[-1:]), q_norm_weight, qk_norm_epsilon)
    if k_norm_weight is not None:
        k = F.rms_norm(k, list(k.shape[-1:]), k_norm_weight, qk_norm_epsilon)
    length = q.shape[2]
    start = None if past_key is None else (seqlens_k.reshape(-1).long() + 1 - length).clamp(min=0)
    if do_rotary and cos_cache is not None and sin_cache is not None:
        places = _positions(q, start) if position_ids is None else position_ids
        cos, sin = cos_cache[places].unsqueeze(1), sin_cache[places].unsqueeze(1)
        width = 2 * cos_cache.shape[-1]
        q, k = (turn(one, cos, sin, interleaved=bool(rotary_interleaved), width=width) for one in (q, k))
    if past_key is not None and past_value is not None and start is not None:
        total = total_sequence_length[0] if isinstance(total_sequence_length, list) else total_sequence_length
        size = max(past_key.shape[2], total)
        k, v = _appended(past_key, k, start, size), _appended(past_value, v, start, size)
    plain = softcap == 0 and head_sink is None and smooth_softmax != 1 and not any(wanted[3:])
    if plain and causal and past_key is None and attention_bias is None and local_window_size < 0:
        return join_heads(attend(q, k, v, scale=scale or None, is_causal=True)), k, v, None
    seen = window_mask(
        length,
        k.shape[2],
        0 if start is None else start,
        device=q.device,
        causal=bool(causal),
        left=local_window_size - 1 if local_window_size > 0 else -1,
        valid=None if start is None else start + length,
    )
    mask = both(_fitted(attention_bias, k.shape[2]), seen)
    if plain:
        return join_heads(attend(q, k, v, mask, scale=scale or None)), k, v, None
    if head_sink is None and smooth_softmax != 1:
        found = spell_out(q, k, v, mask, scale=scale or None, softcap=softcap)
        return join_heads(found.output), k, v, found.weights if qk_output == _WEIGHTS else _shown(found.biased, seen)
    sink = q.new_zeros(num_heads) if head_sink is None else head_sink.to(q.dtype)
    y, weights, scores = _with_sink(q, k, v, mask, sink, scale=scale or None, softcap=softcap)
    return join_heads(y), k, v, weights if qk_output == _WEIGHTS else _shown(scores, seen)


def _grouped(query: Tensor, key: Tensor | None, value: Tensor | None, heads: int, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    if key is not None and value is not None:
        return split_heads(query, heads), split_heads(key, groups), split_heads(value, groups)
    both_heads = split_heads(query, heads + 2 * groups)
    q, k, v = torch.split(both_heads, [heads, groups, groups], dim=1)
    return q, k, v


def _positions(q: Tensor, start: Tensor | None) -> Tensor:
    """Positions of the new tokens [B or 1, S]."""
    steps = torch.arange(q.shape[2], device=q.device).unsqueeze(0)
    return steps if start is None else steps + start.unsqueeze(-1)


def _appended(past: Tensor, new: Tensor, start: Tensor, size: int) -> Tensor:
    """A cache [B, G, P, H] made `size` long, with new tokens from each sample's start on and zeros after them."""
    cache = F.pad(past, (0, 0, 0, size - past.shape[2])) if size > past.shape[2] else past
    first = start[:, None, None, None]
    kept = torch.where(torch.arange(size, device=past.device).unsqueeze(-1) < first, cache, 0.0)
    places = first + torch.arange(new.shape[2], device=new.device).unsqueeze(-1)
    return kept.scatter(2, places.expand(new.shape), new)


def _fitted(bias: Tensor | None, total: int) -> Tensor | None:
    """A bias whose last axis may be longer or shorter than there are keys."""
    return None if bias is None else F.pad(bias, (0, total - bias.shape[-1]))


def _shown(scores: Tensor, seen: Tensor | None) -> Tensor:
    """Scores as an output: 0 where a key is not seen."""
    return scores if seen is None else scores.masked_fill(~seen, 0.0)


def _with_sink(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, sink: Tensor, *, scale: float | None, softcap: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention with one more key for each head, which has a score and no value: output, weights, scores."""
    found = spell_out(q, k, v, mask, scale=scale, softcap=softcap)
    extra = sink.reshape(1, -1, 1, 1).expand(*found.biased.shape[:3], 1)
    weights = torch.softmax(torch.cat([found.biased, extra], dim=-1), dim=-1)[..., :-1]
    groups = q.shape[1] // v.shape[1]
    return weights @ v.repeat_interleave(groups, dim=1), weights, found.biased


# ---- positions -----------------------------------------------------------------------------------------------------


@torch_op("RotaryEmbedding", domain=CONTRIB_DOMAIN, frozen=("cos_cache", "sin_cache"))
def rotary_embedding_at(
    x: Tensor,
    position_ids: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
) -> Tensor:
    """Turn x by its positions' angles (arXiv 2104.09864).

    Args:
        x: [B, S, N·H] or [B, N, S, H].
        position_ids: [B, S], or the position of the first token [1].
        cos_cache: [positions, R/2].
        sin_cache: as cos_cache.
        interleaved: pairs are neighbours rather than the two halves.
        is_packed_batching: samples of several lengths in one row; makes no difference where positions are given.
        num_heads: N; by default as many as the angles' width says.
        rotary_embedding_dim: R, how many features are turned; 0 for all.
        scale: has no effect in ONNX Runtime.
    """
    flat = x.dim() == 3
    heads = split_heads(x, num_heads or x.shape[-1] // (2 * cos_cache.shape[-1])) if flat else x
    if position_ids.numel() == 1 and position_ids.dim() == 1:
        position_ids = (position_ids + torch.arange(heads.shape[2], device=x.device)).unsqueeze(0)
    cos, sin = cos_cache[position_ids].unsqueeze(1), sin_cache[position_ids].unsqueeze(1)
    turned = turn(heads, cos, sin, interleaved=bool(interleaved), width=rotary_embedding_dim)
    return join_heads(turned) if flat else turned


# ---- masks ---------------------------------------------------------------------------------------------------------


def key_mask(mask: Tensor | None, batch: int, total: int, filtered: float, dtype: torch.dtype) -> Tensor | None:
    """A mask of keys as what is added to scores.

    Args:
        mask: by its shape, 1 where a key counts: [B, T], [B, S, T] or [B, 1, T, T]; or how many keys count [B]; or where they
            end, then where they begin [2B].
        batch: B.
        total: T.
        filtered: what is added to hidden scores.
        dtype: type of the scores.
    """
    if mask is None:
        return None
    kept = mask
    if mask.dim() == 1:
        places = torch.arange(total, device=mask.device)
        kept = places < mask[:batch].unsqueeze(-1)
        kept = kept if mask.shape[0] == batch else kept & (places >= mask[batch:].unsqueeze(-1))
    kept = kept.bool()
    shaped = kept[:, None, None, :] if kept.dim() == 2 else kept.unsqueeze(1) if kept.dim() == 3 else kept
    return torch.zeros(shaped.shape, dtype=dtype, device=mask.device).masked_fill(~shaped, filtered)


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, causal: bool, scale: float | None) -> Tensor:
    """Attention under an added mask, and causal at the end of the keys if so wanted."""
    if not causal:
        return attend(q, k, v, mask, scale=scale)
    if mask is None and q.shape[2] == k.shape[2]:
        return attend(q, k, v, scale=scale, is_causal=True)
    return attend(q, k, v, additive(both(mask, _causal(q, k)), q.dtype), scale=scale)


def _causal(q: Tensor, k: Tensor) -> Tensor | None:
    return window_mask(q.shape[2], k.shape[2], k.shape[2] - q.shape[2], device=q.device, causal=True)


def _sum(mask: Tensor | None, bias: Tensor | None) -> Tensor | None:
    return bias if mask is None else mask if bias is None else mask + bias


def _refuse(op_type: str, **settings: int) -> None:
    """Refuse settings that are not at zero.

    Raises:
        UnsupportedModelError: one is not.
    """
    named = [name for name, value in settings.items() if value]
    if named:
        raise UnsupportedModelError(
            f"The torch backend's {op_type} does not take {', '.join(named)}.",
            place=op_type,
            remedy="Export the model without a shared or quantized cache.",
        )
