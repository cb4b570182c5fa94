"""Convolutional networks in miniature."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_bn(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, then batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, projected where the shape changes (ResNet-18's block)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_bn(inputs, outputs, stride=stride)
        self.second = conv_bn(outputs, outputs)
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else conv_bn(inputs, outputs, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, four residual blocks, pooling, classifier."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = conv_bn(3, width)
        self.blocks = nn.Sequential(
            ResidualBlock(width, width),
            ResidualBlock(width, 2 * width, 2),
            ResidualBlock(2 * width, 2 * width),
            ResidualBlock(2 * width, 4 * width, 2),
        )
        self.head = nn.Linear(4 * width, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.stem(image)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project; ReLU6; a shortcut where shapes allow (MobileNetV2's block)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        hidden = 4 * inputs
        self.expand = conv_bn(inputs, hidden, 1)
        self.depthwise = conv_bn(hidden, hidden, stride=stride, groups=hidden)
        self.project = conv_bn(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(F.relu6(self.depthwise(F.relu6(self.expand(x)))))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Stem, three inverted residuals, pooling, classifier."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = conv_bn(3, width, stride=2)
        self.blocks = nn.Sequential(
            InvertedResidual(width, width, 1), InvertedResidual(width, 2 * width, 2), InvertedResidual(2 * width, 2 * width, 1)
        )
        self.head = nn.Linear(2 * width, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.blocks(F.relu6(self.stem(image))).mean((2, 3)))


class DenseLayer(nn.Module):
    """BatchNorm, ReLU, convolution, the result put beside the input (DenseNet's layer)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


class DenseNet(nn.Module):
    """Stem, two dense blocks of three layers with a transition between, classifier."""

    def __init__(self, width: int = 8, growth: int = 4) -> None:
        super().__init__()
        wide = width + 3 * growth
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.first = nn.Sequential(*(DenseLayer(width + i * growth, growth) for i in range(3)))
        self.transition = nn.Sequential(nn.BatchNorm2d(wide), nn.ReLU(), nn.Conv2d(wide, width, 1), nn.AvgPool2d(2))
        self.second = nn.Sequential(*(DenseLayer(width + i * growth, growth) for i in range(3)))
        self.norm = nn.BatchNorm2d(wide)
        self.head = nn.Linear(wide, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.second(self.transition(self.first(self.stem(image))))
        return self.head(F.relu(self.norm(x)).mean((2, 3)))


class ShuffleUnit(nn.Module):
    """One half of the channels passes by, the other is convolved; then channels are shuffled (ShuffleNetV2's unit)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(conv_bn(half, half, 1), nn.ReLU(), conv_bn(half, half, groups=half), conv_bn(half, half, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        kept, moved = x.chunk(2, 1)
        joined = torch.cat([kept, self.branch(moved)], 1)
        _, channels, height, width = joined.shape
        return joined.view(-1, 2, channels // 2, height, width).transpose(1, 2).reshape(-1, channels, height, width)


class ShuffleNet(nn.Module):
    """Stem, three shuffle units, classifier."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = conv_bn(3, width, stride=2)
        self.units = nn.Sequential(*(ShuffleUnit(width) for _ in range(3)))
        self.head = nn.Linear(width, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.units(F.relu(self.stem(image))).mean((2, 3)))


class GroupedConvNet(nn.Module):
    """Grouped convolutions between pointwise ones (ResNeXt's bottleneck), with biases."""

    def __init__(self, width: int = 16, groups: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.reduce = nn.Conv2d(width, width, 1)
        self.grouped = nn.Conv2d(width, width, 3, padding=1, groups=groups)
        self.widen = nn.Conv2d(width, width, 1)
        self.head = nn.Linear(width, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.stem(image))
        x = F.relu(x + self.widen(F.relu(self.grouped(F.relu(self.reduce(x))))))
        return self.head(x.mean((2, 3)))


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate that sees their means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(F.silu(self.reduce(gate))))


class SqueezeExciteNet(nn.Module):
    """Two convolutions, each followed by squeeze-excite; SiLU."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = conv_bn(3, width, stride=2)
        self.first = SqueezeExcite(width, 4)
        self.conv = conv_bn(width, width)
        self.second = SqueezeExcite(width, 4)
        self.head = nn.Linear(width, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.first(F.silu(self.stem(image)))
        x = x + self.second(F.silu(self.conv(x)))
        return self.head(x.mean((2, 3)))
