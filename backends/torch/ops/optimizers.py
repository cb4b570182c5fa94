"""Steps of optimizers, as ONNX's training operators have them; the graph holds the state."""

from __future__ import annotations

import torch

from netwright.backends.torch.table import torch_op

_DOMAIN = "ai.onnx.preview.training"


@torch_op("Adagrad", domain=_DOMAIN)
def adagrad(
    rate: torch.Tensor,
    count: torch.Tensor,
    *tensors: torch.Tensor,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> tuple[torch.Tensor, ...]:
    """New values and new sums of squared gradients (Duchi et al., JMLR 12, 2011).

    Args:
        rate: the learning rate.
        count: of the steps before this one.
        tensors: all values, then all gradients, then all sums.
        decay_factor: the rate is divided by 1 + count · decay_factor.
        epsilon: added to the root of the sum.
        norm_coefficient: of the value, added to the gradient.
    """
    values, gradients, sums = _groups(tensors, 3)
    step = rate / (1.0 + count * decay_factor)
    regularized = [norm_coefficient * value + gradient for value, gradient in zip(values, gradients, strict=True)]
    totals = [total + gradient * gradient for total, gradient in zip(sums, regularized, strict=True)]
    news = [
        value - step * gradient / (torch.sqrt(total) + epsilon) for value, gradient, total in zip(values, regularized, totals, strict=True)
    ]
    return (*news, *totals)


@torch_op("Momentum", domain=_DOMAIN)
def momentum(
    rate: torch.Tensor, count: torch.Tensor, *tensors: torch.Tensor, alpha: float, beta: float, mode: str, norm_coefficient: float
) -> tuple[torch.Tensor, ...]:
    """New values and new momenta.

    Args:
        rate: the learning rate.
        count: of the steps before this one.
        tensors: all values, then all gradients, then all momenta.
        alpha: of the old momentum.
        beta: of the gradient, from the second step on.
        mode: `standard` or `nesterov`.
        norm_coefficient: of the value, added to the gradient.
    """
    values, gradients, momenta = _groups(tensors, 3)
    share = torch.where(count > 0, beta, 1.0)
    regularized = [norm_coefficient * value + gradient for value, gradient in zip(values, gradients, strict=True)]
    moved = [(alpha * old + share * gradient).to(old.dtype) for old, gradient in zip(momenta, regularized, strict=True)]
    ahead = mode == "nesterov"
    steps = [gradient + alpha * new if ahead else new for gradient, new in zip(regularized, moved, strict=True)]
    return (*(value - rate * step for value, step in zip(values, steps, strict=True)), *moved)


@torch_op("Adam", domain=_DOMAIN)
def adam(
    rate: torch.Tensor,
    count: torch.Tensor,
    *tensors: torch.Tensor,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple[torch.Tensor, ...]:
    """New values, means of gradients and means of their squares (Kingma & Ba, arXiv 1412.6980).

    Args:
        rate: the learning rate.
        count: of the steps, 0 for one whose means are not to be corrected.
        tensors: all values, then all gradients, then all means, then all means of squares.
        alpha: of the old mean.
        beta: of the old mean of squares.
        epsilon: added to the root of the mean of squares.
        norm_coefficient: of the value, added to the gradient.
        norm_coefficient_post: of the new value, taken from it.
    """
    values, gradients, means, squares = _groups(tensors, 4)
    corrected = rate * torch.sqrt(1.0 - beta**count) / (1.0 - alpha**count)
    step = torch.where(count > 0, corrected, rate).to(rate.dtype)
    regularized = [norm_coefficient * value + gradient for value, gradient in zip(values, gradients, strict=True)]
    first = [alpha * old + (1.0 - alpha) * gradient for old, gradient in zip(means, regularized, strict=True)]
    second = [beta * old + (1.0 - beta) * gradient * gradient for old, gradient in zip(squares, regularized, strict=True)]
    news = [
        (1.0 - norm_coefficient_post) * (value - step * mean / (torch.sqrt(square) + epsilon))
        for value, mean, square in zip(values, first, second, strict=True)
    ]
    return (*news, *first, *second)


def _groups(tensors: tuple[torch.Tensor, ...], count: int) -> list[tuple[torch.Tensor, ...]]:
    """Tensors in groups of equal length."""
    length = len(tensors) // count
    return [tensors[start : start + length] for start in range(0, len(tensors), length)]
