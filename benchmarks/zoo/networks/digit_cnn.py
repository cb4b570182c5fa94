"""The convolutional network of digit-recognizer-py (MIT), laid out as in its `model.py`."""

from __future__ import annotations

import torch
from torch import nn


class DigitCnn(nn.Module):
    """Three convolutions and two linear layers: [n, 1, 28, 28] → logits [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        widths = ((1, 32), (32, 64), (64, 128))
        self.conv_layers = nn.Sequential(
            *(layer for narrow, wide in widths for layer in (nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2)))
        )
        self.fc_layers = nn.Sequential(nn.Linear(128 * 3 * 3, 256), nn.ReLU(), nn.Linear(256, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the ten digits."""
        return self.fc_layers(self.conv_layers(x).flatten(1))
