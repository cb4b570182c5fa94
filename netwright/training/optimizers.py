"""Optimizers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import torch

from netwright.training.errors import TrainingError
from netwright.training.options import TrainOptions

Groups: TypeAlias = list[dict[str, object]]

_FUSED = frozenset({"cpu", "cuda"})
"""Devices on which torch has fused steps; for split weights it has none of SGD's."""


@dataclass(frozen=True, slots=True)
class OptimizerEntry:
    """An optimizer by name.

    Attributes:
        build: makes it of parameter groups (each with its own weight decay), the learning rate, and whether one kernel may do a whole
            step (three times as fast on the CPU).
        lr: the learning rate where none is given; meant for weights that are trained already.
        weight_decay: where none is given.
    """

    build: Callable[[Groups, float, bool], torch.optim.Optimizer]
    lr: float
    weight_decay: float = 0.0


OPTIMIZERS: Mapping[str, OptimizerEntry] = MappingProxyType(
    {
        "adamw": OptimizerEntry(lambda groups, lr, fused: torch.optim.AdamW(groups, lr=lr, fused=fused), lr=2e-4, weight_decay=0.01),
        "adam": OptimizerEntry(lambda groups, lr, fused: torch.optim.Adam(groups, lr=lr, fused=fused), lr=2e-4),
        "sgd": OptimizerEntry(lambda groups, lr, fused: torch.optim.SGD(groups, lr=lr, momentum=0.9, fused=fused), lr=1e-2),
        "rmsprop": OptimizerEntry(lambda groups, lr, fused: torch.optim.RMSprop(groups, lr=lr), lr=2e-4),
    }
)
"""By name; `sgd` has momentum 0.9."""


def make_optimizer(parameters: Iterable[torch.nn.Parameter], options: TrainOptions) -> torch.optim.Optimizer:
    """The optimizer that the options name, over the parameters that require a gradient.

    Weight decay is for tensors of rank 2 and more: biases, norms and scales are left alone (the usual practice; Loshchilov and
    Hutter, arXiv 1711.05101, for decay apart from the gradient).

    Raises:
        TrainingError: no optimizer of this name, or no parameter to train.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        raise TrainingError(
            "There is no weight to train.", place="optimizer", remedy="Integer weights and frozen ones are left as they are."
        )
    if not isinstance(options.optimizer, str):
        return options.optimizer(trained)
    entry = OPTIMIZERS.get(options.optimizer)
    if entry is None:
        raise TrainingError(
            f"There is no optimizer named {options.optimizer}.",
            place="optimizer",
            remedy=f"Built in: {', '.join(OPTIMIZERS)}; or give a function from a list of parameters to an optimizer.",
        )
    decay = entry.weight_decay if options.weight_decay is None else options.weight_decay
    groups: Groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    fused = not options.shard and all(parameter.is_floating_point() and parameter.device.type in _FUSED for parameter in trained)
    return entry.build([group for group in groups if group["params"]], entry.lr if options.lr is None else options.lr, fused)
