"""How a run goes: everything that `fit` can be told, checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Literal, TypeAlias

from netwright.training.errors import TrainingError
from netwright.training.optimizer_settings import OptimizerSettings, settings_of
from netwright.training.schedules import SCHEDULES, ScheduleLike

if TYPE_CHECKING:
    import torch

OptimizerLike: TypeAlias = "str | OptimizerSettings | Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]"
"""A name in `OPTIMIZERS`; settings, or text for them such as `sparse(method='hard')`; or a function that makes an optimizer of a list of
parameters."""
Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]
Device: TypeAlias = Literal["auto", "cpu"]

_WHOLE = ("epochs", "steps", "batch_size", "accumulate", "patience", "checkpoint_every", "checkpoint_keep", "threads")
_POSITIVE = ("lr", "clip")
_NOT_NEGATIVE = ("warmup", "weight_decay", "scale_rate")
_CHOICES = {"precision": ("float32", "bfloat16", "float16"), "device": ("auto", "cpu")}


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How a run goes.

    Attributes:
        epochs: how often to go through the data.
        steps: how many optimizer steps to make; where given, it decides and not `epochs`.
        optimizer: `adamw`, `adam`, `sgd`, `rmsprop` (see `OPTIMIZERS`); one that makes zeros, with its settings, such as `sparse` (see
            `SETTINGS`); or a function from a list of parameters to an optimizer.
        penalty: on weights, of an optimizer that makes zeros; per unit of learning rate.
        sparsity: the share of zeros that such an optimizer is to reach.
        lr: the highest learning rate; the optimizer's own default where not given. An optimizer made by a function has its own.
        schedule: `constant`, `linear` or `cosine` (to zero), or a function from (step, steps) to a factor.
        warmup: below 1 a share of the steps, else a number of steps, in which the learning rate grows from nearly zero.
        weight_decay: of tensors of rank 2 and more (biases, norms and scales have none); the optimizer's default where not given.
        product_decay: of weights that are a product of factors (as `factorize` writes them), decay the product, not each factor.
        scale_rate: learning rate of the scales of quantizers, as a multiple of that of weights; 0 leaves them as they are. Of built-in
            optimizers; the optimizer's default where not given.
        clip: the largest norm of the whole gradient; a longer one is scaled down. None leaves gradients as they are.
        batch_size: rows to a batch and process, for arrays that hold everything (32 where not given); items of lists and streams
            are batches as they are, and are cut where it is given.
        accumulate: batches to a step.
        precision: of the computation; weights stay as they are. `float16` needs a GPU.
        patience: stop after so many epochs without a better score. The best epoch's weights are the result in any case.
        checkpoint: a folder for checkpoints.
        checkpoint_every: steps between checkpoints; after every epoch where not given.
        checkpoint_keep: how many checkpoints stay.
        resume: go on from the newest checkpoint in the folder, if there is one.
        seed: of everything random: order, dropout.
        threads: threads of torch on the CPU during the run.
        device: `auto` takes a GPU where there is one.
        shard: split weights, gradients and the optimizer's state over the processes (FSDP), where one's memory is too small.
        progress: show a progress bar on a terminal.
    """

    epochs: int = 1
    steps: int | None = None
    optimizer: OptimizerLike = "adamw"
    penalty: float | None = None
    sparsity: float | None = None
    lr: float | None = None
    schedule: ScheduleLike = "cosine"
    warmup: float = 0.05
    weight_decay: float | None = None
    product_decay: bool = True
    scale_rate: float | None = None
    clip: float | None = 1.0
    batch_size: int | None = None
    accumulate: int = 1
    precision: Precision = "float32"
    patience: int | None = None
    checkpoint: str | PathLike[str] | None = None
    checkpoint_every: int | None = None
    checkpoint_keep: int = 2
    resume: bool = False
    seed: int = 0
    threads: int | None = None
    device: Device = "auto"
    shard: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            TrainingError: one is out of range, or makes no sense without another.
        """
        for name in _WHOLE:
            value: object = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise _bad(name, value, "a whole number from 1")
        for name in (*_POSITIVE, *_NOT_NEGATIVE):
            value = getattr(self, name)
            least = "a number above 0" if name in _POSITIVE else "a number from 0"
            if value is not None and (not isinstance(value, int | float) or not (value > 0 or (name in _NOT_NEGATIVE and value == 0))):
                raise _bad(name, value, least)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise _bad(name, getattr(self, name), f"one of {', '.join(choices)}")
        if isinstance(self.schedule, str) and self.schedule not in SCHEDULES:
            raise _bad("schedule", self.schedule, f"one of {', '.join(SCHEDULES)}, or a function of (step, steps)")
        if self.seed < 0:
            raise _bad("seed", self.seed, "a whole number from 0")
        if self.checkpoint is None and (self.resume or self.checkpoint_every is not None):
            name = "resume" if self.resume else "checkpoint_every"
            raise TrainingError(f"{name} needs a folder of checkpoints.", place=name, remedy="Give checkpoint=FOLDER.")
        self.optimizer_settings()

    def optimizer_settings(self) -> OptimizerSettings | None:
        """The settings of the optimizer, with this run's penalty and sparsity; None for one without settings.

        Raises:
            TrainingError: an option that the optimizer does not have, or out of range, or missing.
        """
        settings = settings_of(self.optimizer, penalty=self.penalty, sparsity=self.sparsity)
        if settings is not None:
            settings.complete()
            if self.shard:
                raise TrainingError(f"The optimizer {settings.name} needs whole weights.", place="shard", remedy="Leave shard out.")
        return settings

    def trajectory(self) -> dict[str, str | float | None]:
        """The options that decide where a run goes, as JSON: a checkpoint fits only a run that has the same."""
        return {
            "epochs": None if self.steps is not None else self.epochs,
            "steps": self.steps,
            "optimizer": _named(self.optimizer_settings() or self.optimizer),
            "lr": self.lr,
            "schedule": _named(self.schedule),
            "warmup": self.warmup,
            "weight_decay": self.weight_decay,
            "product_decay": self.product_decay,
            "scale_rate": self.scale_rate,
            "clip": self.clip,
            "batch_size": self.batch_size,
            "accumulate": self.accumulate,
            "precision": self.precision,
            "patience": self.patience,
            "seed": self.seed,
            "shard": self.shard,
        }


def _named(given: object) -> str:
    if isinstance(given, OptimizerSettings):
        return str(given)
    return given if isinstance(given, str) else str(getattr(given, "__qualname__", type(given).__qualname__))


def _bad(name: str, value: object, expected: str) -> TrainingError:
    return TrainingError(f"{name} is {value!r}.", place=name, remedy=f"Give {expected}.")
