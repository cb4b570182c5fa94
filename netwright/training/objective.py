"""What a training run minimises: a module, its loss on a batch, and the Program that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import torch

from netwright.ir.ledger import Miss
from netwright.ir.program import Program

TorchBatch: TypeAlias = Mapping[str, torch.Tensor]
"""One batch on the training device: inputs by name, and whatever came along (labels) by its own name."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of one batch.

    Attributes:
        total: a scalar, a mean over the batch's rows; its gradient is what trains.
        parts: what it is made of, by name, for the progress bar and the history; scalars, already weighted, no gradient needed.
    """

    total: torch.Tensor
    parts: Mapping[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])


class Objective(Protocol):
    """What `fit` minimises. Labels, distillation and compression are each one of these.

    All state that training changes lies in `module` (parameters and buffers): it is what is moved to the device, wrapped for several
    processes, saved in checkpoints and put back when the best epoch is chosen. Whatever else an objective holds (a teacher, a
    cache) stays as it is during a run.
    """

    @property
    def module(self) -> torch.nn.Module:
        """All that is trained: its parameters that require a gradient."""
        ...

    @property
    def program(self) -> Program:
        """The Program that it started from, whose inputs the data must fit; unchanged by training."""
        ...

    @property
    def misses(self) -> tuple[Miss, ...]:
        """What is left out of the loss, with reasons; empty where nothing is."""
        ...

    def describe(self) -> str:
        """In one line what is minimised, with its settings; a checkpoint that was made for another is refused."""
        ...

    def loss(self, module: torch.nn.Module, batch: TorchBatch, step: int) -> Loss:
        """The loss on one batch.

        Args:
            module: `self.module` as the loop prepared it (on its device, wrapped for several processes). Call this, not
                `self.module`, so that gradients are averaged over processes.
            batch: tensors on the module's device.
            step: how many optimizer steps were made before; the same for all parts of an accumulated step.
        """
        ...

    def product(self) -> Program:
        """The trained Program, from the module's weights of now; a new one each time."""
        ...
