"""The two arms of `sparse_feature_maps`: the same fine-tuning with a penalty on feature maps and without, on rows that leave some over."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

import netwright as nw
from benchmarks.zoo import zoo
from benchmarks.zoo.trained import TrainedModel
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.program import Program
from netwright.training import Distill, FeatureMapPenalty

CACHE = Path(".cache/sparse_maps")
HELD_OUT = 0.1
"""Share of the sentences that nothing is trained on: settings and thresholds are chosen there."""
OVERLAP = 8
"""Of the gpt's passages, which share characters, how many start before one ends."""
PASSAGES = 200
"""Passages that are held out."""


class Rows(NamedTuple):
    """Inputs and labels."""

    inputs: np.ndarray
    labels: np.ndarray


@cache
def model_of(name: str) -> TrainedModel:
    """The zoo's `gpt`, or its `transformer` trained anew by its recipe on the sentences that are not held out."""
    whole = _whole(name)
    if name == "gpt":
        return whole
    return TrainedModel(
        f"{name}_part", whole.about, replace(whole.way, split=lambda: whole.way.split()._replace(**fitting(name)._asdict()))
    )


@cache
def fitting(name: str) -> Rows:
    """Rows to fine-tune on: none shares anything with those held out."""
    return _parts(name)[0]


@cache
def held_out(name: str) -> Rows:
    """Training rows that no training saw: neither the model's own nor the fine-tuning."""
    return _parts(name)[1]


@cache
def _parts(name: str) -> tuple[Rows, Rows]:
    """Sentences are in random order already: the last ones. Passages: those of which the zoo's recipe drew no character."""
    whole = _whole(name)
    split = whole.way.split()
    count = len(split.inputs)
    if name == "gpt":
        near = np.arange(-OVERLAP, OVERLAP + 1)
        seen = np.zeros(count, bool)
        seen[np.clip(_drawn(whole, count)[:, None] + near, 0, count - 1)] = True
        unseen = np.flatnonzero(~seen)
        apart = unseen[np.diff(unseen // (OVERLAP + 1), prepend=-1) > 0]
        apart = apart[np.diff(apart, prepend=-OVERLAP - 1) > OVERLAP]
        held = np.random.default_rng(0).permutation(apart)[:PASSAGES]
        kept = np.setdiff1d(np.arange(count), held[:, None] + near)
    else:
        held, kept = np.arange(round(count * (1 - HELD_OUT)), count), np.arange(round(count * (1 - HELD_OUT)))
    return Rows(split.inputs[kept], split.labels[kept]), Rows(split.inputs[held], split.labels[held])


def _drawn(whole: TrainedModel, count: int) -> np.ndarray:
    """The rows that `benchmarks.zoo.training.train` takes: it draws them with a generator of its own."""
    import torch

    generator = torch.Generator().manual_seed(1)
    steps = [torch.randint(0, count, (whole.way.batch,), generator=generator) for _ in range(whole.way.steps)]
    return np.unique(torch.cat(steps).numpy())


def _whole(name: str) -> TrainedModel:
    found = zoo[f"train_small_{name}"]
    assert isinstance(found, TrainedModel), "the zoo trains these"
    return found


@dataclass(frozen=True, slots=True)
class Arm:
    """One fine-tuning of the trained model, toward its outputs, its hidden states and the labels.

    Attributes:
        name: of the model.
        weight: of the penalty; 0 trains without.
        seed: of the order of rows.
        steps: of the optimizer.
        batch: rows a step.
        lr: highest learning rate.
    """

    name: str
    weight: float
    seed: int = 0
    steps: int = 300
    batch: int = 32
    lr: float = 5e-4

    def program(self) -> Program:
        """The trained program, from the cache where it was trained before."""
        model = model_of(self.name)
        kind = f"hoyer{self.weight:g}" if self.weight else "none"
        path = CACHE / f"{self.name}.{model.recipe}.{self.steps}x{self.batch}.{self.lr:g}.{kind}.seed{self.seed}.onnx"
        if not path.exists():
            started = time.perf_counter()
            trained = self._trained(simplified(self.name))
            print(f"{path.stem}: {self.steps} steps in {time.perf_counter() - started:.0f} s", flush=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.onnx")
            nw.save(trained, partial)
            partial.replace(path)
        return nw.load(path)

    def _trained(self, program: Program) -> Program:
        rows = fitting(self.name)
        return nw.train(
            program,
            {model_of(self.name).way.input: rows.inputs, "labels": rows.labels.astype(np.int64)},
            loss="cross_entropy",
            teacher=program,
            distill=Distill(outputs="soft", hidden="auto"),
            feature_maps=FeatureMapPenalty(weight=self.weight) if self.weight else None,
            steps=self.steps,
            batch_size=self.batch,
            lr=self.lr,
            seed=self.seed,
            threads=1,
        )


@cache
def simplified(name: str) -> Program:
    """The model before it is fine-tuned."""
    return nw.compile(nw.load(model_of(name).onnx()), "simplify", check=False, latency=False).program


def score(name: str, program: Program, inputs: np.ndarray, labels: np.ndarray) -> float:
    """The zoo's metric of the model on some rows."""
    model, executor = model_of(name), OrtExecutor()
    found = [executor.run(program, {model.way.input: inputs[at : at + 100]})["logits"] for at in range(0, len(inputs), 100)]
    return model.measure(np.concatenate(found), labels)[model.primary]
