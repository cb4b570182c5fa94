"""An encoder of spectrograms in miniature."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models.transformers import join_heads, split_heads


class AudioAttention(nn.Module):
    """Self-attention whose keys have no bias, queries scaled before the product."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.v, self.out = (nn.Linear(width, width) for _ in range(3))
        self.k = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(project(x), self.heads) for project in (self.q, self.k, self.v))
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        return self.out(join_heads(scores.softmax(-1) @ v))


class AudioLayer(nn.Module):
    """Attention and a GELU feed-forward, normalised before each."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = AudioAttention(width, heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class AudioEncoder(nn.Module):
    """Two convolutions over time, the second with stride 2, learned positions, two layers, a norm (Whisper's encoder, arXiv 2212.04356)."""

    def __init__(self, bins: int = 20, width: int = 32, heads: int = 4, steps: int = 24) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(bins, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, 2, 1)
        self.positions = nn.Parameter(0.1 * torch.randn(steps // 2, width))
        self.layers = nn.Sequential(*(AudioLayer(width, heads) for _ in range(2)))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(features))))
        return self.norm(self.layers(x.transpose(1, 2) + self.positions))
