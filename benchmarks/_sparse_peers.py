"""What the sparse optimizer is held against: other ways to zeros, on the same tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir
import torch

from netwright.ir.opinfo import is_float
from netwright.ir.program import Program


def weights(program: Program) -> list[onnx_ir.Value]:
    """Matrices and kernels: what every method prunes; not biases and norms."""
    return [value for value in program.initializers() if value.const_value is not None and _is_weight(value.const_value)]


def _is_weight(tensor: onnx_ir.TensorProtocol) -> bool:
    return is_float(tensor.dtype) and sum(size > 1 for size in tensor.shape.numpy()) >= 2


def zeros(program: Program) -> float:
    """The share of exact zeros among the weights."""
    arrays = [_array(value) for value in weights(program)]
    return 1 - sum(int(np.count_nonzero(one)) for one in arrays) / sum(one.size for one in arrays)


def cut(program: Program, share: float) -> Program:
    """A clone whose smallest weights are zero, ranked over all tensors: one-shot magnitude pruning."""
    copy = program.clone()
    found = {value: _array(value) for value in weights(copy)}
    sizes = np.concatenate([np.abs(one).reshape(-1) for one in found.values()])
    count = int(np.ceil(share * sizes.size))
    threshold = np.partition(sizes, count - 1)[count - 1]
    with copy.edit() as editor:
        for value, one in found.items():
            editor.set_constant(value, np.where(np.abs(one) > threshold, one, np.float32(0)))
    return copy


def _array(value: onnx_ir.Value) -> np.ndarray:
    assert value.const_value is not None
    return value.const_value.numpy()


Make = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
"""As `nw.train(optimizer=…)` takes it."""


@dataclass(frozen=True, slots=True)
class Subgradient:
    """AdamW on the loss plus penalty · ‖w‖₁, whose subgradient is penalty · sign(w): what a framework's L1 term does.

    Attributes:
        penalty: on each weight.
        lr: highest learning rate.
    """

    penalty: float
    lr: float

    def __call__(self, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer."""
        return _SubgradientAdamW(parameters, self.lr, self.penalty)


class _SubgradientAdamW(torch.optim.AdamW):
    def __init__(self, parameters: list[torch.nn.Parameter], lr: float, penalty: float) -> None:
        super().__init__(parameters, lr=lr, weight_decay=0.0)
        self._penalty = penalty
        self._weights = [parameter for parameter in parameters if sum(size > 1 for size in parameter.shape) >= 2]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for parameter in self._weights:
            if parameter.grad is not None:
                parameter.grad.add_(torch.sign(parameter), alpha=self._penalty)
        super().step(closure)


@dataclass(frozen=True, slots=True)
class Gradual:
    """AdamW under masks of the smallest weights, whose share rises along a cubic (Zhu and Gupta, arXiv 1710.01878).

    Masks are made anew every hundredth of the run until three quarters of it, and then stay; as there, a weight that is masked has no
    gradient, and so does not come back.

    Attributes:
        share: of zeros in the end.
        lr: highest learning rate.
        steps: of the whole run.
    """

    share: float
    lr: float
    steps: int

    def __call__(self, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer."""
        return _GradualAdamW(parameters, self)


class _GradualAdamW(torch.optim.AdamW):
    def __init__(self, parameters: list[torch.nn.Parameter], options: Gradual) -> None:
        super().__init__(parameters, lr=options.lr, weight_decay=0.0)
        self._options = options
        self._made = 0
        self._weights = [parameter for parameter in parameters if sum(size > 1 for size in parameter.shape) >= 2]
        self._masks = [torch.ones_like(parameter, dtype=torch.bool) for parameter in self._weights]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().step(closure)
        self._made += 1
        end = 0.75 * self._options.steps
        if self._made <= end and self._made % max(1, self._options.steps // 100) == 0:
            self._remask(self._options.share * (1 - (1 - self._made / end) ** 3))
        for parameter, mask in zip(self._weights, self._masks, strict=True):
            parameter.masked_fill_(~mask, 0.0)

    def _remask(self, share: float) -> None:
        sizes = np.concatenate([parameter.abs().reshape(-1).numpy() for parameter in self._weights])
        count = int(np.ceil(share * sizes.size))
        threshold = float(np.partition(sizes, count - 1)[count - 1])
        self._masks = [parameter.abs() > threshold for parameter in self._weights]
