"""What factorizing costs trained models: every method, with ranks given out evenly or by what outputs feel, and after equal training.

    python -m benchmarks.factorize_accuracy [MODEL …] [--shares 0.8 0.65 0.5] [--steps 100] [--trained 0.5] [--seeds 1] [--threads N]
                                            [--check]

One table for each model: the metric with a share of all parameters left, `uniform` (each site loses the same fraction) and `global`
(each gives where it costs least). `svd` knows the weights alone; `asvd`, `whitened` and `+ anew` (last factors solved anew on what comes
through the factorized program) see the same calibration inputs, without labels. There is no public tool that factorizes an ONNX file,
so that rows are held against each other: `svd uniform` is what one does by hand.

Each row is then trained toward the original model's outputs, without labels, with equal steps, rate and rows, at the shares of
`--trained`.

With `--check`, exits with 1 where a row beats `whitened + anew, global` by more than half a point before training.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

import netwright as nw
from benchmarks._accuracy_tasks import Task, task
from benchmarks.table import Row, report
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.program import Program
from netwright.passes import Context, run
from netwright.passes.factorize import Factorize
from netwright.passes.simplify import Simplify

MODELS = ("minilm", "train_small_transformer", "digit_cnn", "train_small_resnet")
DIMS = {"batch": 1, "sequence": 32}


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of the table.

    Attributes:
        method: of `factorize`.
        anew: whether last factors are solved anew.
        allocation: `uniform` or `global`.
    """

    method: str
    anew: bool
    allocation: str

    @property
    def text(self) -> str:
        """For the table."""
        return f"{self.method}{' + anew' if self.anew else ''}"


ARMS = tuple(
    Arm(method, anew, allocation)
    for method, anew in (("svd", False), ("asvd", False), ("whitened", False), ("whitened", True))
    for allocation in ("uniform", "global")
)
AUTO = (Arm("auto", True, "global"),)
"""For models with convolutions: the best structure of each."""
DEFAULT = Arm("whitened", True, "global")
NOISE = 0.005


def main() -> None:
    """Factorize, score, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"of {', '.join(MODELS)}")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.8, 0.65, 0.5])
    parser.add_argument("--steps", type=int, default=100, help="of training; 0 for none")
    parser.add_argument("--trained", type=float, nargs="*", default=[0.5], help="shares that are trained")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--check", action="store_true", help="exit with 1 where the default is beaten")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    missed: list[str] = []
    for name in options.models:
        started, one = time.perf_counter(), task(name)
        original = run(one.program, [Simplify()], Context()).program
        whole = one.score(original)
        rows: list[Row] = []
        trained: list[Row] = []
        scores: dict[tuple[Arm, float], float] = {}
        convolves = any(True for _ in original.nodes("Conv"))
        for arm in (*ARMS, *(AUTO if convolves else ())):
            row: Row = {"method": arm.text, "ranks": arm.allocation}
            after: Row = dict(row)
            for share in options.shares:
                made = factorized(one, original, arm, share, options.threads)
                metrics = one.score(made)
                scores[arm, share] = metrics[one.metrics[0]]
                for metric in one.metrics:
                    row[f"{share:g}: {metric}"] = round(metrics[metric], 4)
                if options.steps and share in options.trained:
                    found = [one.score(recovered(one, original, made, options, seed)) for seed in range(options.seeds)]
                    for metric in one.metrics:
                        after[f"{share:g}: {metric}"] = round(statistics.mean(score[metric] for score in found), 4)
            rows.append(row)
            trained.append(after)
        shown = ", ".join(f"{metric} {value:.4f}" for metric, value in whole.items())
        report(f"{name}: {shown} as it was; columns are shares of the parameters left; {time.perf_counter() - started:.0f} s", rows)
        if options.steps and options.trained:
            report(f"{name}: after {options.steps} steps toward the original's outputs, {options.seeds} seed(s)", trained)
        missed.extend(_missed(name, scores, options.shares))
    for line in missed:
        print(f"missed: {line}")
    if options.check and missed:
        raise SystemExit(1)


def factorized(one: Task, original: Program, arm: Arm, share: float, threads: int) -> Program:
    """The model with a share of its parameters left, by one arm."""
    executor = OrtExecutor(threads=threads)
    sees = arm.method != "svd"
    context = Context(calibration=one.feeds() if sees else None, executor=executor, original=original, dims=DIMS, threads=threads)
    chosen = Factorize(method=arm.method, budget={"params": share}, allocation=arm.allocation, recalibrate=arm.anew, round_to=1)
    return run(original, [chosen], context).program


def recovered(one: Task, original: Program, made: Program, options: argparse.Namespace, seed: int) -> Program:
    """Trained toward the original's outputs, on inputs without labels."""
    batches = one.model.feeds(options.steps, batch=32, seed=1000 + seed)
    return nw.train(made, batches, teacher=original, steps=options.steps, lr=options.lr, seed=seed, threads=options.threads)


def _missed(name: str, scores: dict[tuple[Arm, float], float], shares: Sequence[float]) -> list[str]:
    return [
        f"{name} at {share:g}: {arm.text} {arm.allocation} {score:.4f}, {DEFAULT.text} {DEFAULT.allocation} {scores[DEFAULT, share]:.4f}"
        for share in shares
        for (arm, at), score in scores.items()
        if at == share and score > scores[DEFAULT, share] + NOISE
    ]


if __name__ == "__main__":
    main()
