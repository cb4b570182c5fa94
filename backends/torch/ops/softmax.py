"""Softmax and its logarithm."""

from __future__ import annotations

import torch

from netwright.backends.torch.table import torch_op


@torch_op("Softmax", since=13)
def softmax(x: torch.Tensor, *, axis: int = -1) -> torch.Tensor:
    """`eˣ / Σ eˣ` along an axis."""
    return torch.softmax(x, dim=axis)


@torch_op("LogSoftmax", since=13)
def log_softmax(x: torch.Tensor, *, axis: int = -1) -> torch.Tensor:
    """`x - log Σ eˣ` along an axis."""
    return torch.log_softmax(x, dim=axis)
