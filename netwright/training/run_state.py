"""Where a run is, beside the weights: counters, history and the best epoch; as a checkpoint's facts and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import torch

from netwright.training.errors import CheckpointError
from netwright.training.history import History

if TYPE_CHECKING:
    from netwright.training.checkpoints import Json

Tensors = Mapping[str, torch.Tensor]


@dataclass(slots=True)
class RunState:
    """Counters of one run.

    Attributes:
        step: optimizer steps made.
        epoch: epochs finished.
        position: steps made in the epoch that is under way.
        losses: by step.
        parts: of the loss, by name, each by step.
        scores: before training and after each epoch.
        best: position of the best score.
        best_weights: the module's state then.
        stopped_early: patience has ended the run.
        finished: the last score is there.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    losses: list[float] = field(default_factory=list[float])
    parts: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    scores: list[float] = field(default_factory=list[float])
    best: int | None = None
    best_weights: Tensors = field(default_factory=dict[str, torch.Tensor])
    stopped_early: bool = False
    finished: bool = False

    def count(self, loss: float, parts: Mapping[str, float]) -> None:
        """A step was made."""
        self.step += 1
        self.position += 1
        self.losses.append(loss)
        for name, value in parts.items():
            self.parts.setdefault(name, []).append(value)

    def rate(self, score: float, weights: Tensors, *, eligible: bool = True) -> None:
        """A score was taken; the weights are kept (copied) if they may be the result, and it is the best so far."""
        self.scores.append(score)
        if not eligible:
            return
        if self.best is None or score > self.scores[self.best] or math.isnan(self.scores[self.best]):
            self.best = len(self.scores) - 1
            self.best_weights = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}

    def stale(self) -> int:
        """Scores taken since the best one."""
        return 0 if self.best is None else len(self.scores) - 1 - self.best

    def history(self) -> History:
        """The course of the run so far."""
        parts = {name: tuple(values) for name, values in self.parts.items()}
        return History(tuple(self.losses), parts, tuple(self.scores), self.best, self.stopped_early)

    def facts(self) -> dict[str, Json]:
        """Everything but the tensors, as JSON."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "losses": self.losses,
            "parts": self.parts,
            "scores": self.scores,
            "best": self.best,
            "stopped_early": self.stopped_early,
            "finished": self.finished,
        }

    @classmethod
    def from_facts(cls, step: int, facts: Mapping[str, Json], best_weights: Tensors) -> RunState:
        """The state of a checkpoint."""
        return cls(
            step,
            cast("int", facts["epoch"]),
            cast("int", facts["position"]),
            list(cast("list[float]", facts["losses"])),
            {name: list(values) for name, values in cast("dict[str, list[float]]", facts["parts"]).items()},
            list(cast("list[float]", facts["scores"])),
            cast("int | None", facts["best"]),
            best_weights,
            cast("bool", facts["stopped_early"]),
            cast("bool", facts["finished"]),
        )


def check_same_run(expected: Mapping[str, object], found: Mapping[str, Json], place: str) -> None:
    """Refuse a checkpoint of another run.

    Raises:
        CheckpointError: options, objective, data or the number of processes differ; all differences are listed.
    """
    differing = [
        f"{name} was {found.get(name)!r} and is {value!r}" for name, value in expected.items() if _plain(found.get(name)) != _plain(value)
    ]
    if differing:
        raise CheckpointError(
            f"The checkpoint was made for another run: {'; '.join(differing)}.",
            place=place,
            remedy="Give the same options and data, or another folder.",
        )


def _plain(value: object) -> object:
    """As JSON has it."""
    return list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value
