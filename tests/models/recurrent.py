"""Recurrent networks in miniature."""

from __future__ import annotations

from torch import Tensor, nn


class Tagger(nn.Module):
    """Embedding, a recurrent layer, a linear layer at every step and one on the mean.

    Args:
        layer: `nn.LSTM` or `nn.GRU`.
        bidirectional: run both ways.
        layers: how many are stacked.
    """

    def __init__(self, layer: type[nn.LSTM | nn.GRU], *, bidirectional: bool = False, layers: int = 1) -> None:
        super().__init__()
        self.tokens = nn.Embedding(53, 12)
        self.recurrent = layer(12, 16, layers, batch_first=True, bidirectional=bidirectional)
        width = 32 if bidirectional else 16
        self.tags = nn.Linear(width, 7)
        self.label = nn.Linear(width, 3)

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        states, _ = self.recurrent(self.tokens(ids))
        return {"tags": self.tags(states), "label": self.label(states.mean(1))}
