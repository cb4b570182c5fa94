"""Transformers in miniature."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, L, H·E] → [B, H, L, E]."""
    batch, length, width = x.shape
    return x.view(batch, length, heads, width // heads).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """[B, H, L, E] → [B, L, H·E]."""
    batch, heads, length, width = x.shape
    return x.transpose(1, 2).reshape(batch, length, heads * width)


class SeparateAttention(nn.Module):
    """Self-attention with a projection each for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (split_heads(project(x), self.heads) for project in (self.q, self.k, self.v))
        return self.out(join_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)))


class FusedAttention(nn.Module):
    """Self-attention with one projection for queries, keys and values together, softmax written out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return self.out(join_heads(scores.softmax(-1) @ v))


class PackedAttention(nn.Module):
    """Self-attention with one projection, its result viewed as [B, L, 3, H, E] at once."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return self.out(join_heads(scores.softmax(-1) @ v))


class EncoderLayer(nn.Module):
    """Attention and a GELU feed-forward, normalised after each (BERT's layer)."""

    def __init__(self, attention: nn.Module, width: int) -> None:
        super().__init__()
        self.attention = attention
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(x + self.dropout(self.attention(x, mask)))
        return self.norm2(x + self.dropout(self.down(F.gelu(self.up(x)))))


class Encoder(nn.Module):
    """Token and position embeddings, two encoder layers, a classifier on the first token."""

    def __init__(self, attention: type[SeparateAttention | FusedAttention | PackedAttention], width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(97, width)
        self.positions = nn.Embedding(64, width)
        self.layers = nn.ModuleList(EncoderLayer(attention(width, heads), width) for _ in range(2))
        self.head = nn.Linear(width, 5)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        keep = mask[:, None, None, :].bool()
        for layer in self.layers:
            x = layer(x, keep)
        return self.head(x[:, 0])


class Rotary(nn.Module):
    """Cosines and sines for rotary position embedding, computed from positions."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 10000.0 ** -(torch.arange(0, width, 2) / width), persistent=False)

    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        angles = torch.outer(torch.arange(length, device=self.frequencies.device).float(), self.frequencies)
        both = torch.cat([angles, angles], -1)
        return both.cos(), both.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs of halves of the last axis."""
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin


class DecoderLayer(nn.Module):
    """Grouped-query attention with rotary positions, SwiGLU, RMS norms (Llama's layer)."""

    def __init__(self, width: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads, self.groups = heads, groups
        head = width // heads
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
        self.q, self.out = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.k, self.v = nn.Linear(width, groups * head, bias=False), nn.Linear(width, groups * head, bias=False)
        self.gate, self.up = nn.Linear(width, 2 * width, bias=False), nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        y = self.norm1(x)
        q, k, v = split_heads(self.q(y), self.heads), split_heads(self.k(y), self.groups), split_heads(self.v(y), self.groups)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        x = x + self.out(join_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class WrittenRMSNorm(nn.Module):
    """RMS norm in elementary operations, as transformers writes it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def repeat_heads(x: Tensor, times: int) -> Tensor:
    """[B, G, L, E] → [B, G·times, L, E], each head `times` times in a row."""
    batch, groups, length, width = x.shape
    return x[:, :, None].expand(batch, groups, times, length, width).reshape(batch, groups * times, length, width)


class WrittenDecoderLayer(DecoderLayer):
    """The same layer in elementary operations: key and value heads repeated by expanding, a causal mask, softmax."""

    def __init__(self, width: int, heads: int, groups: int) -> None:
        super().__init__(width, heads, groups)
        self.norm1, self.norm2 = WrittenRMSNorm(width), WrittenRMSNorm(width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        y = self.norm1(x)
        q, k, v = split_heads(self.q(y), self.heads), split_heads(self.k(y), self.groups), split_heads(self.v(y), self.groups)
        times = self.heads // self.groups
        q, k, v = rotate(q, cos, sin), repeat_heads(rotate(k, cos, sin), times), repeat_heads(v, times)
        later = torch.triu(torch.ones(x.shape[1], x.shape[1], device=x.device), 1)
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 - 1e9 * later
        x = x + self.out(join_heads(scores.softmax(-1) @ v))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    """Embedding, two decoder layers, and a head tied to the embedding."""

    def __init__(self, layer: type[DecoderLayer] = DecoderLayer, width: int = 32, heads: int = 4, groups: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(97, width)
        self.rotary = Rotary(width // heads)
        self.layers = nn.ModuleList(layer(width, heads, groups) for _ in range(2))
        self.norm = WrittenRMSNorm(width) if layer is WrittenDecoderLayer else nn.RMSNorm(width, eps=1e-6)
        self.head = nn.Linear(width, 97, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        cos, sin = self.rotary(ids.shape[1])
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.head(self.norm(x))
