"""The step towards less loss, x' = x − lr · d: gradient descent, with momentum, or AdamW.

Penalties have no part in the moments: they are added to d afterwards, or act on x'. Weight decay is apart from the gradient in all
three (Loshchilov and Hutter, arXiv 1711.05101) and is a part of d: d = direction + decay · x.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from dataclasses import dataclass

import torch

from netwright.training.group_sparse.settings import Base

EPSILON = 1e-8
"""Of AdamW."""

MOMENTS = ("momentum", "mean", "square")
"""Names in a parameter's state of what is zero where the parameter is to stay zero."""


@dataclass(frozen=True, slots=True)
class Descent:
    """Which way down.

    Attributes:
        base: `sgd`, `momentum` or `adamw`.
        momentum: of `momentum`.
        betas: of `adamw`.
    """

    base: Base
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)

    def direction(self, parameter: torch.Tensor, state: MutableMapping[str, torch.Tensor], decay: float) -> torch.Tensor:
        """What is subtracted from a parameter that has a gradient, per unit of learning rate; its moments are advanced."""
        gradient = parameter.grad
        assert gradient is not None
        found = gradient
        if self.base == "momentum":
            kept = state.get("momentum")
            found = state["momentum"] = gradient.clone() if kept is None else kept.mul_(self.momentum).add_(gradient)
        elif self.base == "adamw":
            found = self._adam(parameter, gradient, state)
        return found.add(parameter, alpha=decay) if decay else found

    def gradient(self, parameter: torch.Tensor, state: MutableMapping[str, torch.Tensor]) -> torch.Tensor | None:
        """The gradient smoothed over past steps, up to a factor that all parameters share: the first moment, where there is one."""
        for name in ("mean", "momentum"):
            if name in state:
                return state[name]
        return parameter.grad

    def _adam(self, parameter: torch.Tensor, gradient: torch.Tensor, state: MutableMapping[str, torch.Tensor]) -> torch.Tensor:
        first, second = self.betas
        if "step" not in state:
            state["step"] = torch.tensor(0.0)
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        number = float(state["step"])
        mean = state["mean"].lerp_(gradient, 1 - first)
        square = state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        root = square.sqrt().div_(math.sqrt(1 - second**number)).add_(EPSILON)
        return mean.div(root).div_(1 - first**number)
