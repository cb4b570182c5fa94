"""EfficientNet-Lite0 as efficientnet-lite-pytorch (Apache-2.0) builds it."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn


class EfficientNetLite0(nn.Module):
    """Images [batch, 3, 224, 224] → logits of ImageNet's classes [batch, 1000]."""

    def __init__(self) -> None:
        super().__init__()
        self.network: nn.Module = EfficientNet.from_name("efficientnet-lite0")

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The logits; the package's own module, under the input name that the zoo uses."""
        return self.network(image)
