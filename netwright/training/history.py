"""What a run was: loss by step, score by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

HISTORY = "training.history"
"""Key of a trained program's `resources`."""


@dataclass(frozen=True, slots=True)
class History:
    """The course of a run.

    Attributes:
        losses: by step.
        parts: what the loss was made of, by name, each by step; empty where it had one part.
        scores: by epoch, higher is better: the first before any training, the last at the end. Empty where there was no metric.
        best: position in `scores` of the epoch whose weights are the result; None without a metric.
        stopped_early: True when patience ended the run.
        decayed_products: of how many chains of factors weight decay acted on the product, and not on each factor.
    """

    losses: tuple[float, ...] = ()
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    scores: tuple[float, ...] = ()
    best: int | None = None
    stopped_early: bool = False
    decayed_products: int = 0

    @property
    def steps(self) -> int:
        """How many optimizer steps were made."""
        return len(self.losses)

    def to_dict(self) -> dict[str, object]:
        """The history as JSON."""
        return {
            "steps": self.steps,
            "losses": list(self.losses),
            "parts": {name: list(values) for name, values in self.parts.items()},
            "scores": list(self.scores),
            "best": self.best,
            "stopped_early": self.stopped_early,
            "decayed_products": self.decayed_products,
        }
