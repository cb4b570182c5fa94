"""The speaker encoder of resemblyzer (Apache-2.0): three LSTM layers, trained with the GE2E loss."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class SpeakerEncoder(nn.Module):
    """Mel frames [batch, frames, 40] → embeddings [batch, 256] of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """The last layer's last state, projected, rectified and normalised."""
        _, (state, _) = self.lstm(mels)
        embedding = torch.relu(self.linear(state[-1]))
        return F.normalize(embedding, dim=1, eps=1e-9)
