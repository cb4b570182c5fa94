"""Training on labels: the plain objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import fx

from netwright.backends.torch import binding_of, lower_to_torch, write_back
from netwright.ir.ledger import Miss
from netwright.ir.program import Program
from netwright.training.feature_maps import FeatureMapPenalty, MapPenalties
from netwright.training.objective import Loss, TorchBatch
from netwright.training.terms import LossLike, Outputs, batch_loss, describe_loss


class LabelledObjective:
    """A loss between a program's outputs and the labels in a batch.

    Args:
        program: left as it is.
        loss: see `LossLike`.
        train_norms: train BatchNormalization with the statistics of the batch.
        penalties: on feature maps, beside the loss.

    Raises:
        TrainingError: an unknown loss or output.
        UnsupportedModelError: an operator that the torch backend lacks.
    """

    def __init__(self, program: Program, loss: LossLike, *, train_norms: bool = False, penalties: Sequence[FeatureMapPenalty] = ()) -> None:
        self.program = program
        self._loss = batch_loss(loss, program)
        self._penalties = MapPenalties(program, penalties)
        self._description = f"{describe_loss(loss)}{self._penalties.describe()}{', norms trained' if train_norms else ''}"
        self.module: fx.GraphModule = lower_to_torch(program, train_norms=train_norms, wanted=self._penalties.names)
        self._binding = binding_of(self.module)

    @property
    def misses(self) -> tuple[Miss, ...]:
        """Nothing is left out."""
        return ()

    def describe(self) -> str:
        """The loss, in words."""
        return self._description

    def loss(self, module: torch.nn.Module, batch: TorchBatch, step: int) -> Loss:
        """The loss on one batch."""
        values = run_module(module, batch, self._binding.inputs, self._binding.outputs)
        return self._penalties.added(self._loss(values, batch), values)

    def product(self) -> Program:
        """The program with the module's weights of now."""
        return write_back(self.program, self.module)


def run_module(module: torch.nn.Module, batch: TorchBatch, inputs: Sequence[str], outputs: Sequence[str]) -> Outputs:
    """A module's outputs by name on a batch.

    Args:
        module: takes inputs in order, and gives a tensor, or a tuple where there are several.
        batch: has the inputs by name.
        inputs: their names in order.
        outputs: the outputs' names in order.
    """
    found: object = module(*[batch[name] for name in inputs])
    values = (found,) if isinstance(found, torch.Tensor) else cast("tuple[torch.Tensor, ...]", found)
    return dict(zip(outputs, values, strict=True))
