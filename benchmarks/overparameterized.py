"""Training with more factors than needed: `factorize(expand=True)`, train, `merge`, against plain training with as many steps.

`python -m benchmarks.overparameterized [MODEL ...] [--seeds N] [--steps N] [--start scratch trained]`. The models are the zoo's small ones,
from random weights, or from the trained ones, trained on with a tenth of the rows. Arms: the model as it is; every weight a product of two,
or of three, factors, merged afterwards. All arms see the same rows in the same order. What is merged has the plain model's graph, and its
cost; training steps of expanded models take longer, which the table says as well.

Factors learn at other speeds than their product, so that an equal learning rate would favour one arm: each arm takes that of `--rates`, as
a multiple of the recipe's, which is best on a tenth of the training rows held out, with a seed of its own (the trained
models have seen these rows: there the choice leans to small rates). The score is the zoo's metric on the test rows, as ONNX Runtime runs
the saved file.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import TrainedModel, open_session, zoo
from benchmarks.zoo.scoring import log_softmax
from benchmarks.zoo.training import LARGEST_SHIFT
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.cost import cost
from netwright.ir.program import Program
from netwright.passes import Context, Pipeline, run
from netwright.passes.values import errors

MODELS = ("train_small_cnn", "train_small_lstm", "train_small_transformer")
ARMS: Mapping[str, str] = {
    "plain": "",
    "two factors": "factorize(expand=True)",
    "three factors": "factorize(expand=True, factors=3)",
}
"""Pipelines before training."""
STARTS = ("scratch", "trained")
HELD_OUT = 10
"""Every tenth training row chooses the learning rate."""
FEW = 10
"""From trained weights, every tenth row is trained on."""
CHOICE_SEED = 1000
"""Of the runs that choose the learning rate; no other has it."""

Rows = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Task:
    """A model with its data.

    Attributes:
        model: of the zoo.
        start: one of `STARTS`.
        steps: of each run.
        threads: of training.
    """

    model: TrainedModel
    start: str
    steps: int
    threads: int

    def first(self, seed: int) -> Program:
        """The program that training starts from."""
        traceable = self.model.trace()
        module = traceable.module if self.start == "trained" else self._untrained(seed)
        example = torch.from_numpy(self.model.way.split().inputs[:2].copy())
        return nw.trace(module.eval(), (example,), dynamic_shapes=({0: "batch"},))

    def _untrained(self, seed: int) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return getattr(importlib.import_module("benchmarks.zoo.networks.small"), self.model.way.network)()

    def rows(self, *, held_out: bool) -> Rows:
        """Training rows, or those held out of them."""
        split = self.model.way.split()
        number = np.arange(len(split.inputs))
        chosen = number % HELD_OUT == 0 if held_out else number % HELD_OUT != 0
        if self.start == "trained" and not held_out:
            chosen &= number % FEW == 1
        return {self.model.way.input: split.inputs[chosen], "labels": split.labels[chosen].astype(np.int64)}

    def batches(self, seed: int) -> Iterator[dict[str, np.ndarray]]:
        """One batch a step, the same for all arms; images are moved about where the recipe does."""
        rng, way, rows = np.random.default_rng(seed), self.model.way, self.rows(held_out=False)
        for _ in range(self.steps):
            drawn = rng.integers(0, len(rows["labels"]), way.batch)
            batch = {name: array[drawn] for name, array in rows.items()}
            if way.shifts:
                batch[way.input] = np.roll(batch[way.input], tuple(rng.integers(-LARGEST_SHIFT, LARGEST_SHIFT + 1, 2)), (2, 3))
            yield batch

    def trained(self, program: Program, seed: int, rate: float) -> Program:
        """The program after its steps, at a multiple of the recipe's learning rate."""
        return nw.train(
            program,
            lambda: self.batches(seed),
            loss="cross_entropy",
            steps=self.steps,
            lr=rate * self.model.way.rate,
            seed=seed,
            threads=self.threads,
        )

    def surprise(self, program: Program) -> float:
        """Mean cross entropy of the rows held out."""
        rows = self.rows(held_out=True)
        (logits,) = OrtExecutor().run(program, {self.model.way.input: rows[self.model.way.input]}).values()
        return float(-np.take_along_axis(log_softmax(logits), rows["labels"][..., None], -1).mean())


@dataclass(frozen=True, slots=True)
class Run:
    """One training run.

    Attributes:
        program: merged and simplified.
        seconds: of training.
        parameters: that were trained.
        off: how far that program is from the trained one, relative.
    """

    program: Program
    seconds: float
    parameters: int
    off: float


def carry_out(task: Task, arm: str, seed: int, rate: float) -> Run:
    """Expand, train, merge."""
    first = task.first(seed)
    before = run(first, Pipeline.parse(ARMS[arm]), Context()).program if ARMS[arm] else first
    started = time.perf_counter()
    trained = task.trained(before, seed, rate)
    seconds = time.perf_counter() - started
    parameters = trained.fact(cost).params
    merged = run(trained, Pipeline.parse("merge, simplify" if ARMS[arm] else "simplify"), Context()).program
    given = {task.model.way.input: task.rows(held_out=True)[task.model.way.input][:50]}
    off = errors(OrtExecutor().run(trained, given), OrtExecutor().run(merged, given)).rel
    return Run(merged, seconds, parameters, off)


def best_rate(task: Task, arm: str, rates: Sequence[float]) -> float:
    """The learning rate that is best on the rows held out."""
    if len(rates) == 1:
        return rates[0]
    return min(rates, key=lambda rate: task.surprise(carry_out(task, arm, CHOICE_SEED, rate).program))


def main() -> None:
    """Run the arms and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="the recipe's where not given")
    parser.add_argument("--start", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[0.3, 1.0, 3.0], help="multiples of the recipe's learning rate to choose from"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the table there too")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.models or MODELS:
        model = zoo[name]
        assert isinstance(model, TrainedModel), "the zoo trains these"
        for start in options.start:
            task = Task(model, start, options.steps or model.way.steps, options.threads)
            for arm in ARMS:
                rows.append(_row(task, arm, best_rate(task, arm, options.rates), range(options.seeds)))
                print(rows[-1], flush=True)
    report(f"Over-parameterized training, then merged: {options.seeds} seeds, equal steps", rows, path=options.json)


def _row(task: Task, arm: str, rate: float, seeds: Sequence[int]) -> Row:
    runs = [carry_out(task, arm, seed, rate) for seed in seeds]
    scores = [_score(task.model, one.program) for one in runs]
    return {
        "model": task.model.name,
        "start": task.start,
        "arm": arm,
        "rate": rate,
        task.model.primary + " %": round(statistics.mean(scores), 2),
        "least": round(min(scores), 2),
        "most": round(max(scores), 2),
        "held-out loss": round(statistics.mean(task.surprise(one.program) for one in runs), 4),
        "ms a step": round(1000 * statistics.mean(one.seconds for one in runs) / task.steps, 1),
        "trained": runs[0].parameters,
        "merged": runs[0].program.fact(cost).params,
        "nodes": len(runs[0].program.graph),
        "merging changes": max(one.off for one in runs),
    }


def _score(model: TrainedModel, program: Program) -> float:
    """The metric on the test rows, in per cent."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        nw.save(program, path)
        return 100 * model.evaluate(open_session(path)).metrics[model.primary]


if __name__ == "__main__":
    main()
