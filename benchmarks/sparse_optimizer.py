"""Zeros made while training: netwright's sparse optimizer beside other ways to as many.

`python -m benchmarks.sparse_optimizer [TASK ...] [--seeds N]`. Three networks (an MLP, an LSTM, an image-to-image U-Net whose output is
a mask) are traced, trained from scratch through `nw.train` and scored by ONNX Runtime on data they were not trained on. Every method
makes the same steps on the same batches with AdamW at the same learning rates, and none is fine-tuned afterwards:

- `dense`: no zeros.
- `one-shot magnitude`: `dense`, its smallest weights cut.
- `L1 subgradient`: the usual L1 term; as trained, and with its smallest weights cut.
- `gradual magnitude`: masks of the smallest weights, more and more (Zhu and Gupta, 2017).
- `proximal`, `hard`: netwright's rivals of the same family, soft and hard thresholds after each step.
- `cumulative`: `optimizer="sparse"` as it is.

Bytes are those of the file that is sent: `nw.save(program, path, sparse=True)`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch

import netwright as nw
from benchmarks._sparse_peers import Gradual, Subgradient, cut, zeros
from benchmarks._sparse_tasks import TASKS, Task
from benchmarks.table import Row, report
from netwright.ir.program import Program
from netwright.training.options import OptimizerLike

SHARES: Mapping[str, float] = {"mlp": 0.95, "lstm": 0.9, "unet": 0.9}
"""Zeros to be reached."""

SUBGRADIENT = 1e-4
"""Coefficient of the L1 term, a usual one; nothing was searched for any method."""

POINT = 0.01
MOST_LOST, LEAST_WON = 1, 3
"""Points that `cumulative` may lose to dense training, and must win over the one-shot cut."""


@dataclass(frozen=True, slots=True)
class Found:
    """One method's result with one seed."""

    method: str
    seed: int
    score: float
    zeros: float
    bytes: int
    seconds: float


def measured(task: Task, share: float, seed: int, steps: int, threads: int) -> Iterator[Found]:
    """Every method with one seed."""
    program = task.program(seed)

    def trained(optimizer: OptimizerLike, sparsity: float | None = None) -> tuple[Program, float]:
        started = time.perf_counter()
        result = task.trained(program, optimizer, sparsity, seed=seed, steps=steps, threads=threads)
        return result, time.perf_counter() - started

    def found(method: str, result: Program, seconds: float) -> Found:
        return Found(method, seed, task.scored(result, threads), zeros(result), sent_bytes(result), seconds)

    dense, seconds = trained("adamw")
    yield found("dense", dense, seconds)
    yield found("one-shot magnitude", cut(dense, share), seconds)
    penalised, seconds = trained(Subgradient(SUBGRADIENT, task.lr))
    yield found("L1 subgradient", penalised, seconds)
    yield found("L1 subgradient, cut", cut(penalised, share), seconds)
    yield found("gradual magnitude", *trained(Gradual(share, task.lr, steps)))
    yield found("proximal", *trained("sparse(method='proximal')", share))
    yield found("hard", *trained("sparse(method='hard')", share))
    yield found("cumulative", *trained("sparse", share))


def sent_bytes(program: Program) -> int:
    """Of the file, which is written, read back and compared."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sent.onnx"
        nw.save(program, path, sparse=True)
        if _contents(nw.load(path)) != _contents(program):
            raise AssertionError("The file does not give back what was written.")
        return path.stat().st_size


def _contents(program: Program) -> dict[str, bytes]:
    return {value.name or "": value.const_value.tobytes() for value in program.initializers() if value.const_value is not None}


def rows(name: str, found: list[Found]) -> list[Row]:
    """A row for each method: means over the seeds, and the worst seed against dense and one-shot."""
    by_method: dict[str, list[Found]] = {}
    for one in found:
        by_method.setdefault(one.method, []).append(one)

    def points(method: str, other: str, worst: Callable[[list[float]], float]) -> float:
        differences = [(a.score - b.score) / POINT for a, b in zip(by_method[method], by_method[other], strict=True)]
        return round(worst(differences), 2)

    return [
        {
            "task": name,
            "method": method,
            "score": round(mean(one.score for one in ones), 4),
            "zeros": round(mean(one.zeros for one in ones), 4),
            "against dense": points(method, "dense", mean),
            "worst seed": points(method, "dense", min),
            "against one-shot": points(method, "one-shot magnitude", mean),
            "bytes sent": round(mean(one.bytes for one in ones)),
            "seconds": round(mean(one.seconds for one in ones), 1),
        }
        for method, ones in by_method.items()
    ]


def verdict(name: str, table: list[Row], least_zeros: float = 0.85) -> Row:
    """Whether `cumulative` holds what is promised of it, by means over the seeds."""
    by_method = {str(row["method"]): row for row in table}
    ours = by_method["cumulative"]
    lost, won = -float(ours["against dense"] or 0), float(ours["against one-shot"] or 0)
    return {
        "task": name,
        "zeros": ours["zeros"],
        "points lost to dense": lost,
        "points won over one-shot": won,
        "file, times smaller": round(float(by_method["dense"]["bytes sent"] or 0) / float(ours["bytes sent"] or 1), 1),
        "held": float(ours["zeros"] or 0) >= least_zeros and lost <= MOST_LOST and won >= LEAST_WON,
    }


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help=f"of {', '.join(TASKS)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="fewer steps, for a look at whether it runs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, help="write the rows there as JSON")
    options = parser.parse_args()
    verdicts: list[Row] = []
    tables: list[Row] = []
    for name in options.tasks or TASKS:
        task, found = TASKS[name], list[Found]()
        for seed in range(options.seeds):
            found += measured(task, SHARES[name], seed, options.steps or task.steps, options.threads)
        table = rows(name, found)
        report(f"{name}: {task.metric}, {options.seeds} seeds", table)
        tables += table
        verdicts.append(verdict(name, table))
    report("Sparse optimizer: at least 85 % exact zeros, within a point of dense, three points above one-shot", verdicts)
    if options.output is not None:
        report("Sparse optimizer", tables, path=options.output)


if __name__ == "__main__":
    main()
