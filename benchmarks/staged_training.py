"""A small text model from a larger one, in one stage and in two, at equal steps and three seeds.

`python -m benchmarks.staged_training [--seeds N] [--steps N]`. The reference is a transformer of 4 layers, trained on all labels. The
general data are all training sentences, without labels; the task is a tenth of the labels. Arms, each with the same number of steps:
task only · distillation toward the reference on the task's rows, with labels · two stages, the same model: general data toward the
reference, then the task with labels and reference · two stages with a smaller second model: a model of 2 layers on general data toward
the reference, then a narrower one of 1 layer toward that first model, on task data with labels. The task-only and single-stage arms are
given for both sizes. The score is test accuracy as ONNX Runtime runs the saved file.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import TrainedModel, open_session, zoo
from benchmarks.zoo.assets import CACHE
from benchmarks.zoo.networks.small import Transformer
from benchmarks.zoo.splits import TOKENS, VOCABULARY, Split, sentence_origins
from benchmarks.zoo.training import train
from netwright.ir.program import Program
from netwright.training import Distill
from netwright.training.staged import Stage

TASK_SHARE = 10
"""Every tenth training row keeps its label."""
SIZES: Mapping[str, tuple[int, int]] = {"reference": (128, 4), "student": (128, 2), "smaller": (64, 1)}
"""Width and layers."""
REFERENCE_STEPS = 1000
SOFT = Distill(outputs="soft", temperature=2.0)

Rows = Mapping[str, np.ndarray]


def network(size: str, seed: int) -> torch.nn.Module:
    """An untrained network of a size."""
    width, layers = SIZES[size]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Transformer(vocabulary=VOCABULARY, width=width, heads=4, layers=layers, tokens=TOKENS, outputs=4, causal=False)


def program_of(module: torch.nn.Module, example: np.ndarray) -> Program:
    """A network as a Program with a dynamic batch."""
    ids = torch.from_numpy(example[:2])
    return nw.trace(module.eval(), (ids,), dynamic_shapes=({0: "batch"},))


def reference(split: Split) -> torch.nn.Module:
    """The trained reference, kept in the zoo's cache."""
    path = CACHE / f"staged_reference.{REFERENCE_STEPS}.pt"
    module = network("reference", 0)
    if path.exists():
        module.load_state_dict(torch.load(path, weights_only=True))
        return module
    train(module, split, steps=REFERENCE_STEPS, batch=64, rate=1e-3, shifts=False)
    torch.save(module.state_dict(), path)
    return module


class Arms:
    """The arms, each from an untrained model to a trained one."""

    def __init__(self, split: Split, teacher: Program, *, steps: int, batch: int, lr: float, threads: int) -> None:
        self.example = split.inputs
        self.general: Rows = {"ids": split.inputs}
        self.task: Rows = {"ids": split.inputs[::TASK_SHARE], "labels": split.labels[::TASK_SHARE].astype(np.int64)}
        self.teacher = teacher
        self.steps, self.batch, self.lr, self.threads = steps, batch, lr, threads

    def single(self, size: str, seed: int, *, taught: bool) -> Program:
        """One stage on the task's rows, on labels alone or with the reference."""
        stage = Stage(model=self._untrained(size, seed), data=self.task, loss="cross_entropy", steps=self.steps)
        return self._run([replace(stage, teacher=self.teacher, distill=SOFT) if taught else stage], seed)

    def two(self, first: str, second: str, seed: int) -> Program:
        """General data toward the reference, then the task; the second model is the first one, or a smaller one that learns from it."""
        half = self.steps // 2
        general = Stage(
            name="general", model=self._untrained(first, seed), data=self.general, teacher=self.teacher, steps=half, distill=SOFT
        )
        smaller = second != first
        task = Stage(
            name="task",
            model=self._untrained(second, seed) if smaller else None,
            data=self.task,
            teacher="general" if smaller else self.teacher,
            loss="cross_entropy",
            steps=self.steps - half,
            distill=SOFT,
        )
        return self._run([general, task], seed)

    def _untrained(self, size: str, seed: int) -> Program:
        return program_of(network(size, seed), self.example)

    def _run(self, stages: Sequence[Stage], seed: int) -> Program:
        return nw.train(self.teacher, stages=stages, batch_size=self.batch, lr=self.lr, seed=seed, threads=self.threads)


def main() -> None:
    """Run the arms and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    model = zoo["train_small_transformer"]
    assert isinstance(model, TrainedModel), "the zoo trains this one"
    split = sentence_origins()
    teacher = program_of(reference(split), split.inputs)
    arms = Arms(split, teacher, steps=options.steps, batch=options.batch, lr=options.lr, threads=options.threads)
    choices: Sequence[tuple[str, str, Callable[[int], Program]]] = (
        ("task only", "student", lambda seed: arms.single("student", seed, taught=False)),
        ("single-stage distillation", "student", lambda seed: arms.single("student", seed, taught=True)),
        ("two stages, same model", "student", lambda seed: arms.two("student", "student", seed)),
        ("task only", "smaller", lambda seed: arms.single("smaller", seed, taught=False)),
        ("single-stage distillation", "smaller", lambda seed: arms.single("smaller", seed, taught=True)),
        ("two stages, smaller second model", "smaller", lambda seed: arms.two("student", "smaller", seed)),
        ("two stages, same model", "smaller", lambda seed: arms.two("smaller", "smaller", seed)),
    )
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        rows.append(_row("reference", "reference", [_score(model, teacher, Path(folder))], 0.0))
        for name, size, arm in choices:
            started = time.perf_counter()
            scores = [_score(model, arm(seed), Path(folder)) for seed in range(options.seeds)]
            rows.append(_row(name, size, scores, (time.perf_counter() - started) / len(scores)))
            print(rows[-1], flush=True)
    report(f"Staged training, {options.steps} steps an arm, {options.seeds} seeds", rows)


def _score(model: TrainedModel, program: Program, folder: Path) -> float:
    """Test accuracy in per cent."""
    path = folder / "model.onnx"
    nw.save(program, path)
    return 100 * model.evaluate(open_session(path)).metrics[model.primary]


def _row(arm: str, size: str, scores: Sequence[float], seconds: float) -> Row:
    width, layers = SIZES[size]
    return {
        "arm": arm,
        "model": f"{layers} x {width}",
        "accuracy %": round(statistics.mean(scores), 2),
        "least": round(min(scores), 2),
        "most": round(max(scores), 2),
        "seconds a run": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
