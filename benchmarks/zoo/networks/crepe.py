"""CREPE's smallest pitch network as torchcrepe (MIT) lays it out: its batch normalisation stands after the ReLU."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = (1, 128, 16, 16, 16, 32, 64)
PITCHES = 360


class CrepeTiny(nn.Module):
    """Frames [n, 1024] at 16 kHz, normalised → salience of 360 pitches, 20 cents apart: [n, 360]."""

    def __init__(self) -> None:
        super().__init__()
        for index, (narrow, wide) in enumerate(itertools.pairwise(WIDTHS), start=1):
            kernel, stride = (512, 4) if index == 1 else (64, 1)
            self.add_module(f"conv{index}", nn.Conv2d(narrow, wide, (kernel, 1), (stride, 1)))
            self.add_module(f"conv{index}_BN", nn.BatchNorm2d(wide, eps=0.0010000000474974513))
        self.classifier = nn.Linear(4 * WIDTHS[-1], PITCHES)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Each pitch's salience between 0 and 1."""
        x = frames[:, None, :, None]
        for index in range(1, len(WIDTHS)):
            padding = (0, 0, 254, 254) if index == 1 else (0, 0, 31, 32)
            x = F.relu(self.get_submodule(f"conv{index}")(F.pad(x, padding)))
            x = F.max_pool2d(self.get_submodule(f"conv{index}_BN")(x), (2, 1), (2, 1))
        return torch.sigmoid(self.classifier(x.permute(0, 2, 1, 3).flatten(1)))
