"""Soft mixtures of experts in miniature: each token is given to all, and their answers are weighted."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StackedExperts(nn.Module):
    """Feed-forward layers that are modules of their own, their outputs stacked (arXiv 1701.06538, without a choice of the best)."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.router = nn.Linear(width, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        weights = self.router(x).softmax(-1)
        outputs = torch.stack([expert(x) for expert in self.experts], dim=-2)
        return (outputs * weights.unsqueeze(-1)).sum(-2)


class BatchedExperts(nn.Module):
    """The same with the experts' weights in one tensor each, the experts its first axis; gates that do not compete."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.router = nn.Linear(width, experts)
        self.up = nn.Parameter(torch.randn(experts, width, 2 * width) / width**0.5)
        self.up_bias = nn.Parameter(0.05 * torch.randn(experts, 1, 2 * width))
        self.down = nn.Parameter(torch.randn(experts, 2 * width, width) / (2 * width) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        gates = torch.sigmoid(self.router(x)).transpose(1, 2).unsqueeze(-1)
        hidden = F.gelu(x.unsqueeze(1) @ self.up + self.up_bias)
        return ((hidden @ self.down) * gates).sum(1)


class Mixture(nn.Module):
    """Embedding, two layers of experts with norms and shortcuts, a linear layer at every token."""

    def __init__(self, layer: type[StackedExperts | BatchedExperts], width: int = 16, experts: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(53, width)
        self.layers = nn.ModuleList(layer(width, experts) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.head = nn.Linear(width, 7)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + layer(norm(x))
        return self.head(x)
