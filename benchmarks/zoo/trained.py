"""train_small_*: five small networks that are trained here, on real data, once: a ConvNet, a ResNet, an LSTM, two transformers."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.zoo import splits
from benchmarks.zoo.assets import CACHE
from benchmarks.zoo.model import Scores, TorchModel, draw, in_batches
from benchmarks.zoo.scoring import accuracy, log_softmax
from benchmarks.zoo.sessions import Feeds, Run
from benchmarks.zoo.splits import Split

if TYPE_CHECKING:
    import torch

    from benchmarks.zoo.tracing import Traceable

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Recipe:
    """What distinguishes the five.

    Attributes:
        network: name of the class or function in `networks/small.py` that builds it.
        input: name of its input.
        split: its data.
        steps, batch, rate: of the training.
        shifts: whether training moves its images about.
    """

    network: str
    input: str
    split: Callable[[], Split]
    steps: int
    batch: int
    rate: float
    shifts: bool = False


class TrainedModel(TorchModel):
    """A network trained by its recipe; the weights are kept in `.cache/zoo`."""

    primary = "accuracy"
    source = tuple(HERE / name for name in ("networks/small.py", "training.py", "trained.py", "splits.py"))

    def __init__(self, name: str, about: str, recipe: Recipe) -> None:
        self.name = f"train_small_{name}"
        self.about = about
        self.way = recipe

    def untrained(self) -> torch.nn.Module:
        """The network with its first weights, always the same."""
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(0)
            return getattr(importlib.import_module("benchmarks.zoo.networks.small"), self.way.network)()

    def module(self) -> torch.nn.Module:
        """The trained network; the first call trains it, for 5 s to 5 minutes."""
        import torch

        weights = CACHE / f"{self.name}.{self.recipe}.pt"
        network = self.untrained()
        if not weights.exists():
            from benchmarks.zoo.training import train

            way = self.way
            train(network, way.split(), steps=way.steps, batch=way.batch, rate=way.rate, shifts=way.shifts)
            weights.parent.mkdir(parents=True, exist_ok=True)
            partial = weights.with_suffix(f".{os.getpid()}.partial")
            torch.save(network.state_dict(), partial)
            partial.replace(weights)
        network.load_state_dict(torch.load(weights, weights_only=True))
        return network.eval()

    def trace(self) -> Traceable:
        """Batch is dynamic."""
        import torch

        from benchmarks.zoo.tracing import Traceable

        example = torch.from_numpy(self.way.split().inputs[:2].copy())
        return Traceable(self.module(), {self.way.input: example}, {self.way.input: {0: "batch"}}, "logits")

    def feeds(self, count: int, *, batch: int = 1, seed: int = 0) -> list[Feeds]:
        """Rows that the network was trained on."""
        return draw({self.way.input: self.way.split().inputs}, count, batch, seed)

    def score(self, run: Run, original: Run, *, quick: bool) -> Scores:
        """On the test rows, or every fifth of them."""
        data = self.way.split()
        every = 5 if quick else 1
        return Scores(self.measure(in_batches(run, {self.way.input: data.test_inputs[::every]}, 50), data.test_labels[::every]))

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """The metrics."""
        return {"accuracy": accuracy(logits, labels)}


class TrainedGpt(TrainedModel):
    """The one that predicts the next character."""

    primary = "bits_per_character"
    higher_is_better = False
    point = 0.05

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Mean surprise in bits, and the share of characters that were the likeliest."""
        surprise = -np.take_along_axis(log_softmax(logits), labels[..., None], -1) / np.log(2)
        return {"bits_per_character": float(surprise.mean()), "accuracy": accuracy(logits, labels)}


TRAINED = (
    TrainedModel("cnn", "ConvNet with BatchNorm on digits, 0.47 M", Recipe("ConvNet", "x", splits.digits, 500, 64, 1e-3, shifts=True)),
    TrainedModel("resnet", "9-conv ResNet on colour crops, 0.11 M", Recipe("ResNet", "x", splits.photo_crops, 937, 64, 1e-3, shifts=True)),
    TrainedModel("lstm", "bidirectional LSTM on speech, 0.10 M", Recipe("BiLstm", "x", splits.vowels, 506, 32, 3e-3)),
    TrainedModel(
        "transformer", "2-layer transformer on sentences, 1.43 M", Recipe("text_classifier", "ids", splits.sentence_origins, 1000, 64, 1e-3)
    ),
    TrainedGpt("gpt", "decoder-only transformer on characters, 1.84 M", Recipe("character_gpt", "ids", splits.characters, 1000, 16, 1e-3)),
)
