"""Training on the graph: losses, the loop, checkpoints, distillation, compression, stages. Needs `netwright[train]`.

Everything is loaded when first asked for, so that importing this package does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netwright.training.distill import Distill as Distill
    from netwright.training.errors import CheckpointError as CheckpointError
    from netwright.training.errors import TrainingError as TrainingError
    from netwright.training.errors import TrainingInterrupted as TrainingInterrupted
    from netwright.training.feature_maps import FeatureMapPenalty as FeatureMapPenalty
    from netwright.training.history import History as History
    from netwright.training.labelled import LabelledObjective as LabelledObjective
    from netwright.training.loop import fit as fit
    from netwright.training.losses import LOSSES as LOSSES
    from netwright.training.objective import Loss as Loss
    from netwright.training.objective import Objective as Objective
    from netwright.training.optimizer_settings import SETTINGS as SETTINGS
    from netwright.training.optimizer_settings import OptimizerSettings as OptimizerSettings
    from netwright.training.optimizers import OPTIMIZERS as OPTIMIZERS
    from netwright.training.options import TrainOptions as TrainOptions
    from netwright.training.sampling import TrainingData as TrainingData
    from netwright.training.schedules import SCHEDULES as SCHEDULES
    from netwright.training.staged import Stage as Stage
    from netwright.training.staged import run_stages as run_stages
    from netwright.training.terms import Term as Term
    from netwright.training.training import train as train

_HOMES = {
    "Distill": "distill",
    "CheckpointError": "errors",
    "TrainingError": "errors",
    "TrainingInterrupted": "errors",
    "FeatureMapPenalty": "feature_maps",
    "History": "history",
    "LabelledObjective": "labelled",
    "fit": "loop",
    "LOSSES": "losses",
    "Loss": "objective",
    "Objective": "objective",
    "SETTINGS": "optimizer_settings",
    "OptimizerSettings": "optimizer_settings",
    "OPTIMIZERS": "optimizers",
    "TrainOptions": "options",
    "TrainingData": "sampling",
    "SCHEDULES": "schedules",
    "Stage": "staged",
    "run_stages": "staged",
    "Term": "terms",
    "train": "training",
}
"""Where each public name lives."""

__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
