"""What the sparse optimizer is measured on: three small networks, real data, a score each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import netwright as nw
from benchmarks.zoo.images import TRAINING_DIGITS, mnist
from benchmarks.zoo.networks.small import conv_block
from benchmarks.zoo.splits import digits, photo_crops, vowels
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.program import Program
from netwright.training.options import OptimizerLike

Arrays = Mapping[str, np.ndarray]

MASKED = 0.5
"""A digit's pixel from this brightness on belongs to its mask."""


class Mlp(nn.Module):
    """Digits [b, 1, 28, 28] → logits [b, 10]: the 784-300-100-10 of LeCun et al., 1998."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the ten digits."""
        return self.layers(x)


class Lstm(nn.Module):
    """Utterances [b, 29, 12] → logits [b, 9], from the mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(12, 96, batch_first=True)
        self.head = nn.Linear(96, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the nine speakers."""
        states, _ = self.rnn(x)
        return self.head(states.mean(1))


def _two_convs(narrow: int, wide: int) -> nn.Sequential:
    return nn.Sequential(conv_block(narrow, wide), conv_block(wide, wide))


class UNet(nn.Module):
    """Pictures [b, 3, 32, 32] → a mask's logits [b, 1, 32, 32] (Ronneberger et al., arXiv 1505.04597, two levels)."""

    def __init__(self, first: int = 12, second: int = 36, bottom: int = 108) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = _two_convs(3, first), _two_convs(first, second), _two_convs(second, bottom)
        self.up2, self.merge2 = nn.ConvTranspose2d(bottom, second, 2, 2), _two_convs(2 * second, second)
        self.up1, self.merge1 = nn.ConvTranspose2d(second, first, 2, 2), _two_convs(2 * first, first)
        self.mask = nn.Conv2d(first, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the mask."""
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        y = self.merge2(torch.cat([second, self.up2(self.bottom(F.max_pool2d(second, 2)))], 1))
        return self.mask(self.merge1(torch.cat([first, self.up1(y)], 1)))


def _classes(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows with the right class."""
    return float((logits.argmax(1) == labels).mean())


def _overlap(logits: np.ndarray, labels: np.ndarray) -> float:
    """Intersection over union of the masks' pixels, all test pictures together."""
    found, true = logits > 0, labels > 0
    return float((found & true).sum() / (found | true).sum())


@dataclass(frozen=True, slots=True)
class Task:
    """A network, data, and how it is trained.

    Attributes:
        network: made after torch's seed was set.
        train: inputs `x` and `labels`.
        test: likewise, none of it in `train`.
        loss: by name.
        score: of logits and labels; higher is better.
        metric: what the score is.
        steps: optimizer steps, the same for every method.
        batch: rows to a step.
        lr: highest learning rate of AdamW, the same for every method.
    """

    network: Callable[[], nn.Module]
    train: Callable[[], Arrays]
    test: Callable[[], Arrays]
    loss: str
    score: Callable[[np.ndarray, np.ndarray], float]
    metric: str
    steps: int
    batch: int
    lr: float

    def program(self, seed: int) -> Program:
        """The untrained network."""
        torch.manual_seed(seed)
        example = torch.from_numpy(self.train()["x"][:2])
        batch = torch.export.Dim("batch", min=1, max=4096)
        return nw.trace(self.network().eval(), (example,), dynamic_shapes=({0: batch},))

    def trained(
        self, program: Program, optimizer: OptimizerLike, sparsity: float | None, *, seed: int, steps: int | None = None, threads: int
    ) -> Program:
        """A trained copy; norms with the statistics of each batch.

        Args:
            program: as it begins.
            optimizer: as `nw.train` takes it; a function has its own learning rate.
            sparsity: for an optimizer that makes zeros.
            seed: of the batches' order.
            steps: others than the task's.
            threads: of torch.
        """
        rows = self.train()
        return nw.train(
            program,
            {program.inputs[0].name or "": rows["x"], "labels": rows["labels"]},
            loss=self.loss,
            optimizer=optimizer,
            sparsity=sparsity,
            lr=self.lr,
            steps=steps or self.steps,
            batch_size=self.batch,
            train_norms=True,
            seed=seed,
            threads=threads,
        )

    def scored(self, program: Program, threads: int | None = None) -> float:
        """The score on the test rows, as ONNX Runtime runs it."""
        rows = self.test()
        name = program.inputs[0].name or ""
        outputs = OrtExecutor(threads=threads).run(program, {name: rows["x"]})
        return self.score(next(iter(outputs.values())), rows["labels"])


@cache
def _digits(train: bool) -> Arrays:
    split = digits()
    inputs, labels = (split.inputs, split.labels) if train else (split.test_inputs, split.test_labels)
    return {"x": inputs, "labels": labels.astype(np.int64)}


@cache
def _vowels(train: bool) -> Arrays:
    split = vowels()
    inputs, labels = (split.inputs, split.labels) if train else (split.test_inputs, split.test_labels)
    return {"x": inputs, "labels": labels.astype(np.int64)}


@cache
def _digits_on_photographs(train: bool) -> Arrays:
    """Handwritten digits over crops of photographs, dark on light ones and light on dark ones, in any colour; the mask is their pixels.

    Training pictures are made of training digits and of the left 65 % of the photographs, test pictures of test digits and of the right
    30 %.
    """
    pixels, _ = mnist()
    split = photo_crops()
    strokes = pixels[:TRAINING_DIGITS] if train else pixels[TRAINING_DIGITS:]
    crops = split.inputs if train else split.test_inputs
    rng = np.random.default_rng(0 if train else 1)
    x = crops[rng.permutation(len(crops))[: len(strokes)]].copy()
    masks = np.zeros((len(x), 1, *x.shape[2:]), np.float32)
    for picture, mask, stroke in zip(x, masks, strokes, strict=False):
        top, left = rng.integers(0, x.shape[2] - stroke.shape[1] + 1, 2)
        place = (slice(None), slice(top, top + stroke.shape[1]), slice(left, left + stroke.shape[2]))
        legible = -0.5 if picture.mean() > 0 else 0.5
        ink, strength = (legible + rng.uniform(-0.25, 0.25, (3, 1, 1))).astype(np.float32), np.float32(rng.uniform(0.6, 1.0))
        picture[place] += strength * stroke * (ink - picture[place])
        mask[place] = stroke >= MASKED
    return {"x": x, "labels": masks}


TASKS: Mapping[str, Task] = {
    "mlp": Task(Mlp, lambda: _digits(True), lambda: _digits(False), "cross_entropy", _classes, "accuracy", 2000, 64, 1e-3),
    "lstm": Task(Lstm, lambda: _vowels(True), lambda: _vowels(False), "cross_entropy", _classes, "accuracy", 1500, 32, 3e-3),
    "unet": Task(
        UNet, lambda: _digits_on_photographs(True), lambda: _digits_on_photographs(False), "bce", _overlap, "IoU of the mask", 400, 16, 1e-2
    ),
}
