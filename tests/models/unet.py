"""Image to image: a U-Net in miniature."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models.convnets import conv_bn


class TwoConvs(nn.Module):
    """Two convolutions with batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = conv_bn(inputs, outputs)
        self.second = conv_bn(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))))


class UNet(nn.Module):
    """Two levels down, two up by transposed convolutions, the way down put beside the way up (arXiv 1505.04597)."""

    def __init__(self, width: int = 8, classes: int = 2) -> None:
        super().__init__()
        self.down1 = TwoConvs(3, width)
        self.down2 = TwoConvs(width, 2 * width)
        self.bottom = TwoConvs(2 * width, 4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.merge2 = TwoConvs(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.merge1 = TwoConvs(2 * width, width)
        self.mask = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        first = self.down1(image)
        second = self.down2(F.max_pool2d(first, 2))
        x = self.up2(self.bottom(F.max_pool2d(second, 2)))
        x = self.up1(self.merge2(torch.cat([second, x], 1)))
        return self.mask(self.merge1(torch.cat([first, x], 1)))
