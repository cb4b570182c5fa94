"""What a model of the zoo offers: its file, feeds that do not touch its evaluation data, and a score for whoever runs it."""

from __future__ import annotations

import ast
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.zoo.assets import CACHE, asset
from benchmarks.zoo.sessions import Feeds, Run, open_session

if TYPE_CHECKING:
    import torch

    from benchmarks.zoo.tracing import Traceable


@dataclass(slots=True)
class Scores:
    """What an evaluation found.

    Attributes:
        metrics: value by name.
        skipped: metric name → why it could not be measured here, and what would make it measurable.
    """

    metrics: dict[str, float] = field(default_factory=dict[str, float])
    skipped: dict[str, str] = field(default_factory=dict[str, str])

    def to_dict(self) -> dict[str, dict[str, float] | dict[str, str]]:
        """The JSON object `{"metrics": {…}, "skipped": {…}}`, metrics rounded to 4 places."""
        return {"metrics": {name: round(value, 4) for name, value in self.metrics.items()}, "skipped": dict(self.skipped)}


class ZooModel(ABC):
    """A trained model with real data to score it on.

    Attributes:
        name: its key in the registry.
        about: one line for tables.
        primary: the metric that targets speak of.
        higher_is_better: the direction of the primary metric.
        point: what counts as one point of the primary metric.
    """

    name: str
    about: str
    primary: str
    higher_is_better: bool = True
    point: float = 0.01

    @abstractmethod
    def onnx(self) -> Path:
        """The original's `.onnx` file.

        Raises:
            MissingExtraError: a package that carries its weights or data is not installed.
        """

    @abstractmethod
    def feeds(self, count: int, *, batch: int = 1, seed: int = 0) -> list[Feeds]:
        """Inputs for calibration and timing, `count` of them with `batch` rows each.

        They come from data that `evaluate` does not use. The same seed gives the same feeds.
        """

    @abstractmethod
    def score(self, run: Run, original: Run, *, quick: bool) -> Scores:
        """Score `run` on the evaluation data; `original` is there for metrics of agreement."""

    def original(self, threads: int = 1) -> Run:
        """The original model on ONNX Runtime."""
        return open_session(self.onnx(), threads)

    def evaluate(self, run: Run, *, quick: bool = False, original: Run | None = None) -> Scores:
        """Score any way of running this model, or one made from it.

        Args:
            run: takes feeds by input name and gives outputs by name, the original's first output first.
            quick: use a part of the data, for a score within seconds.
            original: what agreement is measured against; ONNX Runtime on the original's file when not given.
        """
        return self.score(run, original or self.original(), quick=quick)

    def loss(self, before: Scores, after: Scores) -> float | None:
        """How many points of the primary metric were lost from `before` to `after`; None where it was skipped.

        A metric of agreement with the original is 1 for the original itself, so it needs no special case.
        """
        if self.primary not in before.metrics or self.primary not in after.metrics:
            return None
        drop = before.metrics[self.primary] - after.metrics[self.primary]
        return (drop if self.higher_is_better else -drop) / self.point


class PackagedModel(ZooModel):
    """A model that its package ships as `.onnx`.

    Attributes:
        file: its path below site-packages.
        requirement: the pip requirement that installs it.
    """

    file: str
    requirement: str

    def onnx(self) -> Path:
        """The package's own file."""
        return asset(self.file, self.requirement)


class TorchModel(ZooModel):
    """A model whose weights become a torch module that is exported once and cached.

    Attributes:
        source: the files whose text decides what the export is: a change of them makes a new export.
    """

    source: tuple[Path, ...]

    @abstractmethod
    def module(self) -> torch.nn.Module:
        """The trained network, in evaluation mode."""

    @abstractmethod
    def trace(self) -> Traceable:
        """The network with what an exporter needs: example inputs and dynamic dimensions by input name."""

    def onnx(self, opset: int = 18) -> Path:
        """The export of `trace()` at this opset, made on the first call."""
        path = CACHE / f"{self.name}.opset{opset}.{self.recipe}.onnx"
        if not path.exists():
            from benchmarks.zoo.tracing import export

            export(self.trace(), path, opset)
        return path

    @cached_property
    def recipe(self) -> str:
        """Eight hex digits that change when the code of the network or torch does; comments and layout do not count."""
        digest = hashlib.sha256(version("torch").encode())
        for file in self.source:
            digest.update(ast.dump(ast.parse(file.read_bytes())).encode())
        return digest.hexdigest()[:8]


def in_batches(run: Run, feeds: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """The first output for all rows of `feeds`, `size` rows at a time."""
    rows = len(next(iter(feeds.values())))
    return np.concatenate([first(run({name: rowed[at : at + size] for name, rowed in feeds.items()})) for at in range(0, rows, size)])


def first(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The first output."""
    return next(iter(outputs.values()))


def draw(arrays: Mapping[str, np.ndarray], count: int, batch: int, seed: int) -> list[Feeds]:
    """`count` feeds of `batch` rows each, drawn without replacement as far as the rows reach."""
    rows = len(next(iter(arrays.values())))
    rng = np.random.default_rng(seed)
    needed = count * batch
    order = np.concatenate([rng.permutation(rows) for _ in range(-(-needed // rows))])[:needed]
    return [{name: rowed[rows_] for name, rowed in arrays.items()} for rows_ in np.split(order, count)]
