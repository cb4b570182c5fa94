"""Outputs and parameter gradients of a module and of what was made of it, side by side: what test_models and torch_gradients share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from netwright.backends.torch import binding_of, lower_to_torch
from netwright.ir.ledger import Ledger
from netwright.ir.lineage import inverses
from netwright.ir.maps import Affine, Chain, Concat, Permute, Reshape, Same, Split, Take, ValueMap
from netwright.ir.maps.compose import Joined
from netwright.ir.program import Program
from netwright.passes.context import Context
from netwright.passes.manager import run
from netwright.passes.pipeline import Pipeline

FLOOR = 1e-3
"""A gradient whose norm is a smaller part of that of all gradients is held against this part: a key's bias has none but rounding."""

Gradients = dict[str, np.ndarray]
"""By name of the parameter."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two sets of outputs and gradients are apart.

    Attributes:
        output: the largest difference of an output, relative to the largest output (or absolute, where that is below 1).
        gradient: the largest ‖g − g′‖ / ‖g‖ of a parameter; see `FLOOR`.
        worst: the parameter that has it.
        compared: how many parameters were compared.
        missing: parameters that have no counterpart.
    """

    output: float
    gradient: float
    worst: str
    compared: int
    missing: tuple[str, ...]


def of_module(module: nn.Module, given: Mapping[str, Tensor]) -> tuple[list[Tensor], Gradients]:
    """A module's float outputs, and the gradients of its parameters."""
    module.zero_grad(set_to_none=True)
    outputs = floats(module(**given))
    loss(outputs).backward()
    found = {name: parameter.grad.numpy().copy() for name, parameter in module.named_parameters() if parameter.grad is not None}
    module.zero_grad(set_to_none=True)
    return [output.detach() for output in outputs], found


def of_program(program: Program, given: Mapping[str, Tensor]) -> tuple[list[Tensor], Gradients]:
    """The same through `to_torch`; gradients have the names of the module that the program was traced from.

    A gradient of what a pass made of a parameter is brought back through the parameter's value map, where that only moves or
    scales numbers; a parameter that was folded into others is left out.
    """
    module = lower_to_torch(program)
    outputs = floats(module(*given.values()))
    loss(outputs).backward()
    parameters = dict(module.named_parameters())
    found = {
        bound.value: cast("Tensor", parameters[key].grad).numpy()
        for key, bound in binding_of(module).tensors.items()
        if key in parameters and parameters[key].grad is not None
    }
    return [output.detach() for output in outputs], pulled_back(program.ledger, found)


def pulled_back(ledger: Ledger, gradients: Gradients) -> Gradients:
    """Gradients of the original's parameters from those of the present ones."""
    back = inverses(ledger, gradients)
    found: Gradients = {}
    for name, mapped in back.known.items():
        pulled = _pulled(mapped.map, [gradients[source] for source in mapped.sources])
        if pulled is not None:
            found[name] = pulled
    return found


def simplified(program: Program, *, trainable: bool) -> Program:
    """The program after `simplify`, marked Trainable before or not."""
    copy = program.clone()
    if trainable:
        copy.properties |= {"Trainable"}
    return run(copy, Pipeline.parse("simplify"), Context()).program


def difference(
    expected: tuple[Sequence[Tensor], Gradients], found: tuple[Sequence[Tensor], Gradients], names: Callable[[str], bool] = bool
) -> Difference:
    """How far `found` is from `expected`; of parameters, those whose names pass."""
    (outputs, gradients), (other_outputs, other_gradients) = expected, found
    if [output.shape for output in outputs] != [output.shape for output in other_outputs]:
        raise ValueError(f"{len(outputs)} outputs against {len(other_outputs)}, or other shapes")
    apart = max(
        float((one - other).abs().max()) / max(1.0, float(one.abs().max())) for one, other in zip(outputs, other_outputs, strict=True)
    )
    whole = float(np.sqrt(sum(float(np.square(gradient, dtype=np.float64).sum()) for gradient in gradients.values())))
    relative = {
        name: _norm(gradient - other_gradients[name]) / max(_norm(gradient), FLOOR * whole)
        for name, gradient in gradients.items()
        if name in other_gradients and names(name)
    }
    worst = max(relative, key=lambda name: relative[name], default="")
    missing = tuple(name for name in gradients if name not in other_gradients)
    return Difference(apart, relative.get(worst, 0.0), worst, len(relative), missing)


def _pulled(back: ValueMap, gradients: Sequence[np.ndarray]) -> np.ndarray | None:
    """A gradient through the transpose of a map, given the map's inverse; None for maps that do more than move or scale."""
    if isinstance(back, Joined):
        parts = [_pulled(inner, [gradient]) for inner, gradient in zip(back.inners, gradients, strict=True)]
        whole = [part for part in parts if part is not None]
        return _pulled(back.outer, whole) if len(whole) == len(parts) else None
    if isinstance(back, Chain):
        first, *rest = back.maps
        found = _pulled(first, gradients)
        for link in rest:
            found = None if found is None else _pulled(link, [found])
        return found
    if isinstance(back, Affine):
        return (gradients[0] / back.scale).astype(gradients[0].dtype)
    if isinstance(back, Same | Permute | Reshape | Split | Concat | Take):
        return back.apply(*gradients)
    return None


def loss(outputs: Sequence[Tensor]) -> Tensor:
    """A number that depends on every element: the outputs' mean product with fixed random numbers."""
    generator = torch.Generator().manual_seed(7)
    terms = [(output * torch.randn(output.shape, generator=generator, dtype=output.dtype)).mean() for output in outputs]
    return torch.stack(terms).sum()


def floats(outputs: object) -> list[Tensor]:
    leaves = cast("list[object]", _pytree.tree_leaves(outputs))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _norm(array: np.ndarray) -> float:
    return float(np.sqrt(np.square(array, dtype=np.float64).sum()))
