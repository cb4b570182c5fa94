"""The sparse optimizer for a run of netwright's loop: which of a module's tensors are penalised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from netwright.passes.planning import first_match
from netwright.training.errors import TrainingError
from netwright.training.sparse.optimizer import SparseOptimizer

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.training.optimizers import OptimizerTask
    from netwright.training.sparse.settings import Base, SparseSettings

LR: dict[Base, float] = {"adamw": 1e-3, "momentum": 1e-2, "sgd": 1e-2}
"""Learning rates where none is given."""

_VECTORS = {"LSTM": (3, 5, 6, 7), "GRU": (3, 5), "RNN": (3, 5)}
"""Inputs of recurrent operators that are biases, first states or peepholes: of rank 2 and 3 for the directions' sake, and vectors still."""


def build_sparse(settings: SparseSettings, task: OptimizerTask) -> SparseOptimizer:
    """The optimizer for a run.

    Raises:
        TrainingError: no tensor is penalised; a pattern that no tensor fits.
    """
    known = task.program_names()
    chosen = choose_tensors(settings, task, known)
    penalised = [parameter for name, parameter in task.parameters.items() if name in chosen]
    others = [parameter for name, parameter in task.parameters.items() if name not in chosen]
    groups: list[dict[str, object]] = [{"params": penalised, "penalised": True}]
    if others:
        groups.append({"params": others, "penalised": False, "weight_decay": 0.0})
    lr = LR[settings.base] if task.lr is None else task.lr
    return SparseOptimizer(groups, settings, lr=lr, steps=task.steps, weight_decay=task.weight_decay or 0.0)


def choose_tensors(settings: SparseSettings, task: OptimizerTask, known: dict[str, str]) -> frozenset[str]:
    """The parameters that are penalised, by their names in the module.

    Raises:
        TrainingError: there is none, or a pattern fits nothing.
    """
    for pattern in (*settings.where, *settings.exclude):
        if first_match((pattern,), tuple(known.values())) is None:
            listed = ", ".join(list(known.values())[:8])
            raise TrainingError(f"No tensor is called {pattern}.", place="where", remedy=f"There are {listed}.")
    vectors = frozenset[str]() if settings.tensors == "all" else _recurrent_vectors(task.program)
    chosen = frozenset(
        name
        for name, parameter in task.parameters.items()
        if (settings.tensors == "all" or (_is_matrix(parameter) and known[name] not in vectors))
        and (not settings.where or first_match(settings.where, (known[name],)) is not None)
        and first_match(settings.exclude, (known[name],)) is None
    )
    if not chosen:
        raise TrainingError(
            "No tensor is penalised: there is none of rank 2 or more.",
            place="optimizer",
            remedy="Give sparse(tensors='all') to penalise biases and norms as well.",
        )
    return chosen


def _is_matrix(parameter: torch.Tensor) -> bool:
    """True unless it is a vector, with axes of 1 beside it or not (a norm's scale may be [channels, 1, 1])."""
    return sum(size > 1 for size in parameter.shape) >= 2


def _recurrent_vectors(program: Program) -> frozenset[str]:
    return frozenset(
        value.name or ""
        for node in program.nodes(*_VECTORS)
        for index in _VECTORS[node.op_type]
        if index < len(node.inputs) and (value := node.inputs[index]) is not None
    )
