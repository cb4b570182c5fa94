"""Activation functions of recurrent operators, by the names that ONNX gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.ir.errors import NetwrightError

Activation = Callable[[Tensor], Tensor]


def _affine(x: Tensor, alpha: float, beta: float) -> Tensor:
    return alpha * x + beta


def _thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x >= alpha, x, 0.0)


def _scaled_tanh(x: Tensor, alpha: float, beta: float) -> Tensor:
    return alpha * torch.tanh(beta * x)


def _hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    return torch.clamp(alpha * x + beta, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Kind:
    """An activation function.

    Attributes:
        function: of a tensor, then alpha and beta where it has them.
        alpha: its default, None where it has none.
        beta: likewise.
    """

    function: Callable[..., Tensor]
    alpha: float | None = None
    beta: float | None = None


KINDS: Mapping[str, Kind] = {
    "relu": Kind(torch.relu),
    "tanh": Kind(torch.tanh),
    "sigmoid": Kind(torch.sigmoid),
    "affine": Kind(_affine, 1.0, 0.0),
    "leakyrelu": Kind(F.leaky_relu, 0.01),
    "thresholdedrelu": Kind(_thresholded_relu, 1.0),
    "scaledtanh": Kind(_scaled_tanh, 1.0, 1.0),
    "hardsigmoid": Kind(_hard_sigmoid, 0.2, 0.5),
    "elu": Kind(F.elu, 1.0),
    "softsign": Kind(F.softsign),
    "softplus": Kind(F.softplus),
}
"""By name in lower case; ONNX does not mind the case."""


def activations_of(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> list[Activation]:
    """The functions by name, each with the next alpha and beta if it has such; with its defaults once they run out.

    Raises:
        NetwrightError: ONNX has no such function.
    """
    left, right = iter(alphas), iter(betas)
    return [_activation(name, left, right) for name in names]


def _activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    kind = KINDS.get(name.lower())
    if kind is None:
        raise NetwrightError(f"Recurrent operators have no activation {name!r}.", remedy=f"ONNX knows {', '.join(KINDS)}.")
    settings: list[float] = []
    if kind.alpha is not None:
        settings.append(next(alphas, kind.alpha))
    if kind.beta is not None:
        settings.append(next(betas, kind.beta))
    return partial(_with_settings, kind.function, settings) if settings else kind.function


def _with_settings(function: Callable[..., Tensor], settings: Sequence[float], x: Tensor) -> Tensor:
    return function(x, *settings)
