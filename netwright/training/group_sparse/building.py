"""The optimizers over units for a run of netwright's loop: from coupling groups of a program to parameters of a module."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import fx

from netwright.backends.torch import binding_of
from netwright.backends.torch.roles import Role, role_of
from netwright.ir.coupling import Group, coupling
from netwright.ir.ledger import Miss
from netwright.ir.program import Program
from netwright.passes.prune.planning import survey
from netwright.training.errors import TrainingError
from netwright.training.group_sparse.group_lasso import ProximalGroupLasso
from netwright.training.group_sparse.half_space import DHSPG, HSPG
from netwright.training.group_sparse.hesso import HESSO
from netwright.training.group_sparse.settings import (
    DhspgSettings,
    GroupLassoSettings,
    GroupSparseSettings,
    HessoSettings,
    HspgSettings,
)
from netwright.training.group_sparse.units import Units, index_units, trainable
from netwright.training.optimizers import decayed
from netwright.training.student import StudentModule

if TYPE_CHECKING:
    from netwright.training.optimizers import OptimizerTask

LR = {"adamw": 1e-3, "momentum": 1e-2, "sgd": 1e-2}
"""Learning rates where none is given."""


@dataclass(frozen=True, slots=True)
class Prunable:
    """What of a program can be made zero by training.

    Attributes:
        groups: each with the number that kept counts are multiples of.
        misses: groups that stay whole, with reasons.
    """

    groups: tuple[tuple[Group, int], ...]
    misses: tuple[Miss, ...]


def prunable(program: Program, settings: GroupSparseSettings, parameters: Collection[str]) -> Prunable:
    """Sort the coupling groups of a program into those whose units may become zero and those that are only trained.

    Args:
        program: whose groups they are.
        settings: say which kinds, and which are excluded.
        parameters: the names of the weights that are trained.
    """
    found = survey(program, program.fact(coupling).groups, scope=settings.scope, round_to=settings.round_to, exclude=settings.exclude)
    why = trainable([one.group for one in found.candidates], parameters)
    groups = tuple((one.group, one.grain) for one in found.candidates if one.group.name not in why)
    return Prunable(groups, (*found.misses, *(Miss(f"left whole: {reason}", name) for name, reason in why.items())))


def build_group_sparse(settings: GroupSparseSettings, task: OptimizerTask) -> torch.optim.Optimizer:
    """The optimizer for a run.

    Raises:
        TrainingError: the module was not made of a program; no unit can go.
    """
    parameters = by_weight(task)
    found = prunable(task.program, settings, parameters)
    if not found.groups:
        reasons = "; ".join(f"{miss.site} {miss.reason}" for miss in found.misses[:4]) or "it has no coupling group"
        raise TrainingError(
            f"No unit of the program can go: {reasons}.", place="optimizer", remedy="See `netwright inspect MODEL --by group`."
        )
    units = index_units(found.groups, parameters)
    lr = LR[settings.base] if task.lr is None else task.lr
    groups = decayed(list(task.parameters.values()), task.weight_decay or 0.0)
    return group_sparse_optimizer(groups, units, settings, lr=lr, steps=task.steps)


def group_sparse_optimizer(
    params: Iterable[torch.Tensor] | Iterable[dict[str, object]],
    units: Units,
    settings: GroupSparseSettings,
    *,
    lr: float,
    steps: int,
    weight_decay: float = 0.0,
) -> HSPG | DHSPG | HESSO | ProximalGroupLasso:
    """The optimizer that settings are of; for the arguments see `GroupSparse`."""
    if isinstance(settings, HspgSettings):
        return HSPG(params, units, settings, lr=lr, steps=steps, weight_decay=weight_decay)
    if isinstance(settings, DhspgSettings):
        return DHSPG(params, units, settings, lr=lr, steps=steps, weight_decay=weight_decay)
    if isinstance(settings, HessoSettings):
        return HESSO(params, units, settings, lr=lr, steps=steps, weight_decay=weight_decay)
    assert isinstance(settings, GroupLassoSettings), "settings are of one of the four"
    return ProximalGroupLasso(params, units, settings, lr=lr, steps=steps, weight_decay=weight_decay)


def trained_weights(program: Program) -> frozenset[str]:
    """The names of the weights that a run would train."""
    return frozenset(value.name or "" for value in program.initializers() if role_of(value, program) is Role.PARAMETER)


def by_weight(task: OptimizerTask) -> dict[str, torch.Tensor]:
    """What is trained, by the names of the program's weights.

    Raises:
        TrainingError: the module was not made of a program.
    """
    module = task.module
    if isinstance(module, StudentModule):
        prefix, binding = "model.", module.binding
    elif isinstance(module, fx.GraphModule):
        prefix, binding = "", binding_of(module)
    else:
        raise TrainingError(
            "This module was not made of a program, so nothing is known of its coupling groups.",
            place=type(module).__name__,
            remedy="Train a program, or build the optimizer from index_units.",
        )
    return {
        bound.value: task.parameters[prefix + key]
        for key, bound in binding.tensors.items()
        if bound.kind == "parameter" and prefix + key in task.parameters
    }
