"""Zeros that are meant (pruned weights) stay zero while the others are trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx

from netwright.backends.torch import binding_of
from netwright.backends.torch.binding import KEY
from netwright.ir.program import Program
from netwright.ir.zeros import zeros_kept


@dataclass(frozen=True, slots=True)
class KeptZeros:
    """Parameters with the elements that training may change.

    Attributes:
        stuck: each parameter with a mask of its shape, True where it stays zero.
    """

    stuck: tuple[tuple[torch.nn.Parameter, torch.Tensor], ...] = ()

    @classmethod
    def of(cls, module: torch.nn.Module, program: Program) -> KeptZeros:
        """Of a module that was made from a program, as its parameters are now: split ones give split masks.

        Args:
            module: holds what `to_torch` made.
            program: says of which of its weights the zeros are meant.
        """
        marked = frozenset(zeros_kept(program))
        if not marked:
            return cls()
        found: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        for part in module.modules():
            if not isinstance(part, fx.GraphModule) or KEY not in part.meta:
                continue
            parameters = dict(part.named_parameters())
            for key, bound in binding_of(part).tensors.items():
                if bound.kind == "parameter" and bound.value in marked and key in parameters:
                    found.append((parameters[key], parameters[key].detach() == 0))
        return cls(tuple(found))

    @torch.no_grad()
    def still(self) -> None:
        """Take the gradient of what stays zero out, so that it neither counts in a norm nor enters an optimizer's moments."""
        for parameter, stuck in self.stuck:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(stuck, 0.0)

    @torch.no_grad()
    def restore(self) -> None:
        """Make zero again what an optimizer moved all the same."""
        for parameter, stuck in self.stuck:
            parameter.masked_fill_(stuck, 0.0)
