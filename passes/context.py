"""What a pass may ask for besides the graph: data, a metric, a target, and the backends behind protocols.

Arrays in and out are numpy's, so that no pass knows a backend. `netwright.compile` supplies the implementations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import onnx_ir

from netwright.ir.program import Program
from netwright.passes.kernels import Kernels
from netwright.passes.plan import Plan

Feeds = Mapping[str, np.ndarray]
"""Arrays by input name, for one run."""
Metric = Callable[[Program], float]
"""Scores a program; higher is better."""
Loss = str | Callable[..., object]
"""Name of a training loss, or a function of (outputs, batch) on the training backend's tensors."""


class Executor(Protocol):
    """Runs a program and hands out any of its values."""

    def run(self, program: Program, feeds: Feeds, wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The values named in `wanted` (the outputs where not given), inner ones included."""
        ...


class Gradients(Protocol):
    """Gradients of a loss by value."""

    def weights(self, program: Program) -> frozenset[str]:
        """Names of the weights that have gradients: not statistics, nor other constants that are not trained."""
        ...

    def of(self, program: Program, batches: Iterable[Feeds], loss: Loss, values: Sequence[str]) -> dict[str, np.ndarray]:
        """Mean gradient of the loss with respect to each value: a weight, or an inner value of the main graph."""
        ...

    def each(self, program: Program, batches: Iterable[Feeds], loss: Loss, values: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        """The gradients of each batch, one after the other; the program is lowered once."""
        ...

    def squares(self, program: Program, batches: Iterable[Feeds], loss: Loss, values: Sequence[str]) -> dict[str, np.ndarray]:
        """Mean over batches of the squared gradient: with batches of one row, the diagonal of the empirical Fisher matrix."""
        ...


class Trainer(Protocol):
    """Trains a program and returns the trained one, or a copy for a moment, to see how it does."""

    def train(self, program: Program, batches: Iterable[Feeds], *, loss: Loss, epochs: int, lr: float | None = None) -> Program:
        """A program of the same structure with trained weights."""
        ...

    def step_time(self, program: Program, batches: Iterable[Feeds], *, loss: Loss) -> float:
        """Seconds of one optimizer step on these batches: the median of a few."""
        ...

    def trial(
        self, program: Program, batches: Iterable[Feeds], *, loss: Loss, seconds: float, lr: float | None = None
    ) -> tuple[float, int]:
        """The mean loss of a copy that was trained for so many seconds, and the steps that took."""
        ...


class Timer(Protocol):
    """Measures how long a program takes."""

    def time(self, program: Program) -> float:
        """Best-of latency in milliseconds for one run."""
        ...


class Target(Protocol):
    """What passes may know of the chip or runtime that a program is compiled for."""

    @property
    def name(self) -> str:
        """Such as `onnxruntime`."""
        ...

    def supports(self, op_type: str, domain: str = "", dtype: onnx_ir.DataType | None = None) -> bool:
        """True when the target runs this operator (for this element type)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """Everything a pass may use besides the graph. What was not given is `None`.

    Attributes:
        calibration: unlabelled batches.
        training: labelled batches.
        metric: scores a program, higher is better.
        loss: the training loss: a name, or a function.
        original: the program that the pipeline began with, which can teach what became of it.
        target: what the program is compiled for.
        budget: limits by quantity (`params`, `macs`, `bytes`, `latency_ms`, `metric_drop`).
        seed: the only source of randomness.
        threads: how many threads backends use.
        dims: values for symbolic dimensions, where a pass must have numbers.
        plans: plans given from outside, by pass name.
        samples: makes up inputs for a program, where no data was given.
        kernels: tells which kernels the target makes of a program.
    """

    calibration: Iterable[Feeds] | None = None
    training: Iterable[Feeds] | None = None
    metric: Metric | None = None
    loss: Loss | None = None
    original: Program | None = None
    target: Target | None = None
    budget: Mapping[str, float] | None = None
    seed: int = 0
    threads: int | None = None
    dims: Mapping[str, int] = field(default_factory=dict[str, int])
    plans: Mapping[str, Plan] = field(default_factory=dict[str, Plan])
    executor: Executor | None = None
    gradients: Gradients | None = None
    trainer: Trainer | None = None
    timer: Timer | None = None
    samples: Callable[[Program], Iterable[Feeds]] | None = None
    kernels: Kernels | None = None

    def has(self, need: str) -> bool:
        """True when what a pass `needs` by this name is there."""
        return getattr(self, need) is not None
