"""A Swin transformer in miniature: attention within windows, shifted every other layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW = 4
"""Tokens along a side of a window."""


def windows(x: Tensor) -> Tensor:
    """[B, H, W, C] → [B·windows, WINDOW², C]."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, WINDOW * WINDOW, channels)


def joined(x: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `windows`."""
    x = x.view(-1, height // WINDOW, width // WINDOW, WINDOW, WINDOW, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, x.shape[-1])


def relative_positions() -> Tensor:
    """For each two tokens of a window the row of the bias table that belongs to their offset: [WINDOW², WINDOW²]."""
    places = torch.stack(torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")).flatten(1)
    offsets = places[:, :, None] - places[:, None, :] + WINDOW - 1
    return offsets[0] * (2 * WINDOW - 1) + offsets[1]


def shifted_mask(side: int, shift: int) -> Tensor:
    """What a token of a rolled image may not see, as scores to add: [windows, WINDOW², WINDOW²]."""
    regions = torch.zeros(1, side, side, 1)
    spans = (slice(0, -WINDOW), slice(-WINDOW, -shift), slice(-shift, None))
    for number, (rows, columns) in enumerate((rows, columns) for rows in spans for columns in spans):
        regions[:, rows, columns, :] = number
    ids = windows(regions).squeeze(-1)
    return (ids[:, None, :] != ids[:, :, None]).float() * -100.0


class WindowAttention(nn.Module):
    """Self-attention within windows, with a learned bias for each offset and head."""

    positions: Tensor

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(0.1 * torch.randn((2 * WINDOW - 1) ** 2, heads))
        self.register_buffer("positions", relative_positions(), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        count, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(count, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias[self.positions.view(-1)].view(tokens, tokens, self.heads).permute(2, 0, 1)
        scores = (q * (width // self.heads) ** -0.5) @ k.transpose(-2, -1) + bias.unsqueeze(0)
        if mask is not None:
            scores = scores.view(-1, mask.shape[0], self.heads, tokens, tokens) + mask[None, :, None]
            scores = scores.view(-1, self.heads, tokens, tokens)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(count, tokens, width))


class SwinBlock(nn.Module):
    """Norm, attention within windows of the image rolled by `shift`, norm, feed-forward; shortcuts around both."""

    mask: Tensor | None

    def __init__(self, width: int, heads: int, side: int, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.register_buffer("mask", shifted_mask(side, shift) if shift else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = joined(self.attention(windows(y), self.mask), x.shape[1], x.shape[2])
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Merge(nn.Module):
    """Four neighbours put beside one another, normalised, and mapped to twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.reduce = nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduce(self.norm(torch.cat(parts, -1)))


class Swin(nn.Module):
    """Patches, two blocks (the second shifted), merging, a block, classifier (arXiv 2103.14030)."""

    def __init__(self, width: int = 16, heads: int = 4, side: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 2, 2)
        self.first = nn.Sequential(SwinBlock(width, heads, side, 0), SwinBlock(width, heads, side, WINDOW // 2))
        self.merge = Merge(width)
        self.second = SwinBlock(2 * width, heads, side // 2, 0)
        self.norm = nn.LayerNorm(2 * width)
        self.head = nn.Linear(2 * width, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.second(self.merge(self.first(self.patches(image).permute(0, 2, 3, 1))))
        return self.head(self.norm(x).mean((1, 2)))
