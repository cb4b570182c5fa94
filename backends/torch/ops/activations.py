"""Activations: torch's own kernels where the attributes allow, which are one pass over memory forwards and one back."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from netwright.backends.torch.ops.wide import WIDE, by_value
from netwright.backends.torch.table import torch_op

_SELU_ALPHA = 1.67326319217681884765625
_SELU_GAMMA = 1.05070102214813232421875
_TOLERANCE = 1e-7
"""Attributes are float32, and a model's 1/6 may have been written with fewer digits."""


@torch_op("Relu", moves=("x",))
def relu(x: torch.Tensor) -> torch.Tensor:
    """`max(x, 0)`."""
    return torch.relu(x)


@torch_op("LeakyRelu")
def leaky_relu(x: torch.Tensor, *, alpha: float = 0.01) -> torch.Tensor:
    """`x`, or `α · x` where negative."""
    return F.leaky_relu(x, alpha)


@torch_op("PRelu")
def prelu(x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """`x`, or `slope · x` where negative; `slope` broadcasts to `x`."""
    if x.is_floating_point():
        if slope.numel() == 1:
            return F.prelu(x, slope.reshape(1))
        if x.ndim > 1 and slope.ndim == x.ndim - 1 and slope.shape[0] == slope.numel():
            return F.prelu(x, slope.reshape(-1))
        return torch.where(x >= 0, x, x * slope)
    return x if x.dtype in WIDE else torch.where(x >= 0, x, x * slope)


@torch_op("ThresholdedRelu")
def thresholded_relu(x: torch.Tensor, *, alpha: float = 1.0) -> torch.Tensor:
    """Elements that exceed α, else 0."""
    return F.threshold(x, alpha, 0.0)


@torch_op("Elu")
def elu(x: torch.Tensor, *, alpha: float = 1.0) -> torch.Tensor:
    """`x`, or `α · (eˣ - 1)` where negative."""
    return F.elu(x, alpha)


@torch_op("Selu")
def selu(x: torch.Tensor, *, alpha: float = _SELU_ALPHA, gamma: float = _SELU_GAMMA) -> torch.Tensor:
    """γ · x, or γ · α · (eˣ - 1) where negative."""
    if abs(alpha - _SELU_ALPHA) < _TOLERANCE and abs(gamma - _SELU_GAMMA) < _TOLERANCE:
        return F.selu(x)
    return gamma * F.elu(x, alpha)


@torch_op("Celu")
def celu(x: torch.Tensor, *, alpha: float = 1.0) -> torch.Tensor:
    """`max(x, 0) + min(α · (exp(x / α) - 1), 0)`."""
    return F.celu(x, alpha)


@torch_op("Gelu")
def gelu(x: torch.Tensor, *, approximate: str = "none") -> torch.Tensor:
    """`x · Φ(x)`, with the normal distribution's function, or its approximation by `tanh`."""
    return F.gelu(x, approximate=approximate)


@torch_op("Sigmoid")
def sigmoid(x: torch.Tensor) -> torch.Tensor:
    """1 / (1 + e⁻ˣ)."""
    return torch.sigmoid(x)


@torch_op("HardSigmoid")
def hard_sigmoid(x: torch.Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> torch.Tensor:
    """α · x + β within [0, 1]."""
    if abs(alpha - 1 / 6) < _TOLERANCE and beta == 0.5:
        return F.hardsigmoid(x)
    return torch.clamp(alpha * x + beta, 0.0, 1.0)


@torch_op("HardSwish")
def hard_swish(x: torch.Tensor) -> torch.Tensor:
    """`x · clip(x / 6 + 1/2, 0, 1)`."""
    return F.hardswish(x)


@torch_op("Mish")
def mish(x: torch.Tensor) -> torch.Tensor:
    """`x · tanh(softplus(x))`."""
    return F.mish(x)


@torch_op("Swish")
def swish(x: torch.Tensor, *, alpha: float = 1.0) -> torch.Tensor:
    """`x · sigmoid(α · x)`."""
    return F.silu(x) if alpha == 1.0 else x * torch.sigmoid(alpha * x)


@torch_op("SwiGLU")
def swiglu(gate: torch.Tensor, x: torch.Tensor, *, alpha: float = 1.0) -> torch.Tensor:
    """`x · swish(gate)`."""
    return swish(gate, alpha=alpha) * x


@torch_op("Softplus")
def softplus(x: torch.Tensor) -> torch.Tensor:
    """log(1 + eˣ)."""
    return F.softplus(x)


@torch_op("Softsign")
def softsign(x: torch.Tensor) -> torch.Tensor:
    """`x / (1 + |x|)`."""
    return F.softsign(x)


@torch_op("Shrink")
def shrink(x: torch.Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> torch.Tensor:
    """`x - bias` above λ, `x + bias` below -λ, 0 between."""
    if x.dtype in WIDE:
        return by_value(shrink, x, bias=bias, lambd=lambd)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, 0)).to(x.dtype)
