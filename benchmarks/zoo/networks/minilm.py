"""all-MiniLM-L6-v2 (Apache-2.0): a BERT-type sentence encoder as a plain torch module."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HEADS, LAYERS, FEED_FORWARD = 384, 12, 6, 1536
VOCABULARY, POSITIONS = 30522, 512
MASKED = -1e4
"""Added to the attention scores of padding."""


class Attention(nn.Module):
    """Self-attention, its residual and its normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """`x`: [batch, tokens, width]; `bias` is added to the scores: [batch, 1, 1, tokens]."""
        batch, tokens, _ = x.shape
        query, key, value = (
            project(x).view(batch, tokens, HEADS, WIDTH // HEADS).transpose(1, 2) for project in (self.query, self.key, self.value)
        )
        weights = (query @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5 + bias).softmax(-1)
        return self.norm(x + self.out((weights @ value).transpose(1, 2).reshape(batch, tokens, WIDTH)))


class Layer(nn.Module):
    """Attention and the two feed-forward layers."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.fc1, self.fc2 = nn.Linear(WIDTH, FEED_FORWARD), nn.Linear(FEED_FORWARD, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Shapes as in `Attention`."""
        x = self.attention(x, bias)
        return self.norm(x + self.fc2(F.gelu(self.fc1(x))))


class MiniLm(nn.Module):
    """Token ids and mask, [batch, tokens] each → sentence embeddings [batch, 384] of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.word, self.position, self.segment = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(POSITIONS, WIDTH), nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The mean of the last layer over the tokens that the mask keeps, normalised."""
        mask = attention_mask.to(torch.float32)
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.norm(self.word(input_ids) + self.position(positions)[None] + self.segment.weight[0])
        bias = (1.0 - mask)[:, None, None, :] * MASKED
        for layer in self.layers:
            x = layer(x, bias)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1e-9)
        return mean / mean.norm(dim=1, keepdim=True).clamp(min=1e-12)


def published_names() -> dict[str, str]:
    """This module's prefixes → the published file's."""
    names = {
        "word": "embeddings.word_embeddings",
        "position": "embeddings.position_embeddings",
        "segment": "embeddings.token_type_embeddings",
        "norm": "embeddings.LayerNorm",
    }
    for index in range(LAYERS):
        ours, theirs = f"layers.{index}", f"encoder.layer.{index}"
        names |= {f"{ours}.attention.{name}": f"{theirs}.attention.self.{name}" for name in ("query", "key", "value")}
        names |= {
            f"{ours}.attention.out": f"{theirs}.attention.output.dense",
            f"{ours}.attention.norm": f"{theirs}.attention.output.LayerNorm",
            f"{ours}.fc1": f"{theirs}.intermediate.dense",
            f"{ours}.fc2": f"{theirs}.output.dense",
            f"{ours}.norm": f"{theirs}.output.LayerNorm",
        }
    return names
