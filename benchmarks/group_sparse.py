"""A CNN and an LSTM trained so that whole units become zero: accuracy, and what is left once they are taken out. Peers at equal steps.

`python -m benchmarks.group_sparse [--tasks cnn lstm] [--arms hspg …] [--seeds N] [--steps N] [--processes N]`. The networks are the
zoo's ConvNet (batch norms; MNIST-5k, 4,000 and 1,000 digits) and bidirectional LSTM (JapaneseVowels, 270 and 370 utterances). Every run
starts from scratch, with first weights and an order of rows drawn from its seed, and takes the same steps at the same learning rate with
AdamW; `dense` is AdamW alone. The others make the same share of each group's units zero while they train; then `prune(threshold=0)`
takes those out, and nothing is trained afterwards. Accuracy is that of the pruned program on the test rows, as ONNX Runtime runs it; the
difference is the largest between outputs before and after removal.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import TrainedModel, zoo
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.program import Program


@dataclass(frozen=True, slots=True)
class Task:
    """A network and how it is trained.

    Attributes:
        model: the zoo's name of it.
        steps, batch, lr: of all runs.
        decay: weight decay.
        options: of the optimizers that make zeros.
        simplified: whether the graph is simplified before training (else after it: batch norms are trained).
    """

    model: str
    steps: int
    batch: int
    lr: float
    decay: float
    options: str
    simplified: bool


SHARE = "sparsity=0.625, round_to=4"
TASKS = {
    "cnn": Task("train_small_cnn", 250, 64, 3e-3, 0.05, SHARE, simplified=False),
    "lstm": Task("train_small_lstm", 800, 32, 2e-2, 0.05, SHARE, simplified=True),
}
ARMS = ("dense", "hspg", "dhspg", "hesso", "group_lasso")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one run.

    Attributes:
        accuracy: of what is left, on the test rows.
        macs, params: what is left.
        difference: between outputs before and after removal.
        seconds: of training.
    """

    accuracy: float
    macs: int
    params: int
    difference: float
    seconds: float


def run(task: Task, arm: str, seed: int) -> Outcome:
    """Train, prune, measure."""
    torch.set_num_threads(1)
    model = zoo[task.model]
    assert isinstance(model, TrainedModel), "the zoo trains these"
    split = model.way.split()
    program = _untrained(model, seed, simplified=task.simplified)
    begun = time.perf_counter()
    trained = nw.train(
        program,
        {model.way.input: split.inputs, "labels": split.labels.astype(np.int64)},
        loss="cross_entropy",
        optimizer="adamw" if arm == "dense" else f"{arm}({task.options})",
        steps=task.steps,
        batch_size=task.batch,
        lr=task.lr,
        weight_decay=task.decay,
        train_norms=True,
        seed=seed,
        threads=1,
    )
    seconds = time.perf_counter() - begun
    removal = nw.compile(trained, "prune(threshold=0)")
    small = removal.program
    rows = {model.way.input: split.test_inputs}
    before, after = (next(iter(OrtExecutor().run(one, rows).values())) for one in (trained, small))
    stats = removal.report.after
    assert stats.macs is not None, "the shapes are known"
    accuracy = float((after.argmax(-1) == split.test_labels).mean())
    return Outcome(accuracy, stats.macs, stats.params, float(np.abs(after - before).max()), seconds)


def _untrained(model: TrainedModel, seed: int, *, simplified: bool) -> Program:
    """The network with first weights of a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = getattr(importlib.import_module("benchmarks.zoo.networks.small"), model.way.network)().eval()
    example = torch.from_numpy(model.way.split().inputs[:2].copy())
    program = nw.trace(network, (example,), dynamic_shapes=({0: "batch"},))
    return nw.compile(program, "simplify").program if simplified else program


def _one(job: tuple[Task, str, int]) -> Outcome:
    return run(*job)


def _row(arm: str, outcomes: Sequence[Outcome], dense: Sequence[Outcome]) -> Row:
    accuracy = statistics.mean(one.accuracy for one in outcomes)
    whole = statistics.mean(one.accuracy for one in dense)
    return {
        "optimizer": arm,
        "accuracy": f"{accuracy:.4f}",
        "against dense": f"{100 * (accuracy - whole):+.2f} points",
        "least": f"{min(one.accuracy for one in outcomes):.4f}",
        "most": f"{max(one.accuracy for one in outcomes):.4f}",
        "MACs left": f"{100 * statistics.mean(one.macs for one in outcomes) / dense[0].macs:.1f} %",
        "params left": f"{100 * statistics.mean(one.params for one in outcomes) / dense[0].params:.1f} %",
        "difference": f"{max(one.difference for one in outcomes):.0e}",
        "seconds a run": round(statistics.mean(one.seconds for one in outcomes), 1),
    }


def main() -> None:
    """Run all arms and print a table for each task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=tuple(TASKS), default=[*TASKS])
    parser.add_argument("--arms", nargs="+", choices=ARMS[1:], default=[*ARMS[1:]], help="beside dense")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="instead of the tasks' own")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--json", type=Path, help="folder for the tables as JSON")
    options = parser.parse_args()
    arms = ("dense", *options.arms)
    context = multiprocessing.get_context("spawn")
    for name in options.tasks:
        task: Task = TASKS[name]
        if options.steps is not None:
            task = Task(task.model, options.steps, task.batch, task.lr, task.decay, task.options, task.simplified)
        jobs = [(task, arm, seed) for arm, seed in product(arms, range(options.seeds))]
        with context.Pool(options.processes) as pool:
            outcomes = dict(zip(jobs, pool.map(_one, jobs, chunksize=1), strict=True))
            pool.close()
            pool.join()
        found = {arm: [outcomes[task, arm, seed] for seed in range(options.seeds)] for arm in arms}
        rows = [_row(arm, found[arm], found["dense"]) for arm in arms]
        title = f"{task.model}: {task.steps} steps from scratch, {options.seeds} seeds, {task.options}"
        report(title, rows, path=options.json / f"group_sparse_{name}.json" if options.json else None)


if __name__ == "__main__":
    main()
