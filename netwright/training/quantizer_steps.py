"""How the steps of quantizers are trained: beside the weights, at a learning rate of their own, or not at all.

A step's parameter is the logarithm of its ratio to what it was (see `netwright.backends.torch.steps`), so that its learning rate is
relative: at 1e-3, Adam changes a step by about a thousandth at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import cast

import torch
from torch import fx

from netwright.backends.torch import binding_of
from netwright.backends.torch.binding import KEY


def step_parameters(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters of a module that move steps of quantizers, in order."""
    found: list[torch.nn.Parameter] = []
    for part in cast("Iterable[torch.nn.Module]", module.modules()):
        if isinstance(part, fx.GraphModule) and KEY in part.meta:
            known = dict(part.named_parameters())
            found.extend(known[key] for key, bound in binding_of(part).tensors.items() if bound.kind == "step" and key in known)
    return found


def freeze_steps(module: torch.nn.Module) -> None:
    """Leave the steps of quantizers as they are: their parameters are trained no more."""
    for parameter in step_parameters(module):
        parameter.requires_grad_(False)


def split_steps(
    trained: Collection[torch.nn.Parameter], module: torch.nn.Module
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """What is trained: weights, and steps of quantizers."""
    steps = frozenset(step_parameters(module))
    return [one for one in trained if one not in steps], [one for one in trained if one in steps]
