"""Training in factored form against training the dense model: time of a step, time until as good, and how good in the end.

    python -m benchmarks.factorized_training [speed gpt transformer] [--seeds N] [--steps N] [--threads N] [--quick] [--check]

`factorize(ratio=…, method='svd')` writes every linear layer as two thin ones with 50, 25 and 10 % of its parameters; embeddings and heads
stay whole. Everything runs through `nw.train`'s own loop: AdamW, clipping, weight decay (of factored layers on the product).

- `speed`: a step of an encoder of 6 layers, width 384, batch 16 × 64 tokens, in turns, best of the rounds' medians; and of the same
  network written by hand from pairs of `nn.Linear` with a plain torch loop. So for the other tasks, in their table.
- `gpt` (characters, 4 × 192) and `transformer` (sentences, 2 × 128), from scratch: `init='spectral'` of untrained weights; `as good` is
  the dense model's last score of the same seed less a point. Seconds are the run's own clock; scoring is taken out.
- the same, fine-tuned: the trained model factorized (`method='whitened'`) and trained for a quarter of the steps, beside the dense one
  trained on; `as good` is the trained model's score less a point.

Scores are taken by ONNX Runtime on test data. Targets (`--check`): steps of the encoder 1.5, 2.3 and 3.3 times as fast as the dense ones.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import netwright as nw
from benchmarks.exports.export import quiet
from benchmarks.table import Row, report
from benchmarks.zoo import TrainedModel, zoo
from benchmarks.zoo.networks.small import Transformer, character_gpt, text_classifier
from benchmarks.zoo.training import WEIGHT_DECAY
from netwright.ir.program import Program, array
from netwright.metrics import Run
from netwright.training.options import TrainOptions
from netwright.training.trials import step_time

DENSE = 1.0
TARGETS: Mapping[float, float] = {0.5: 1.5, 0.25: 2.3, 0.1: 3.3}
"""By the share of the parameters that is kept, how many times as fast a step of the encoder is to be."""
ARMS = (DENSE, *TARGETS)
WHOLE = "exclude=('token.*', 'position.*', 'head.*')"
SCORES = 20
"""How often a run is scored."""
FINE_TUNING = 0.25
"""Of the steps from scratch."""

Batch = dict[str, np.ndarray]


def encoder() -> Transformer:
    """6 layers of width 384."""
    return Transformer(vocabulary=1000, width=384, heads=6, layers=6, tokens=64, outputs=4, causal=False)


def traced(network: nn.Module, ids: np.ndarray) -> Program:
    """A network as a Program with a dynamic batch."""
    with quiet():
        return nw.trace(network.eval(), (torch.from_numpy(ids[:2].copy()),), dynamic_shapes=({0: "batch"},))


def factored(program: Program, kept: float, *, trained: Sequence[Batch] | None = None) -> Program:
    """The program with its linear layers as pairs of thin ones; as it is where all parameters are kept.

    Args:
        program: left as it is.
        kept: share of each layer's parameters.
        trained: calibration data, where the program is trained already.
    """
    if kept == DENSE:
        return program
    how = "method='svd', init='spectral'" if trained is None else "method='whitened'"
    text = f"factorize(ratio={1 - kept}, {how}, {WHOLE})"
    return nw.compile(program, text, calibration=trained, threads=torch.get_num_threads(), latency=False).program


def parameters(program: Program) -> int:
    """Elements of all initializers."""
    return sum(int(np.prod(tensor.shape.numpy())) for value in program.initializers() if (tensor := value.const_value) is not None)


# ---- time of a step ----------------------------------------------------------------------------------------------------


class Pair(nn.Sequential):
    """A linear layer as two, written by hand."""

    def __init__(self, whole: nn.Linear, inner: int) -> None:
        super().__init__(nn.Linear(whole.in_features, inner, bias=False), nn.Linear(inner, whole.out_features))


def by_hand(network: nn.Module, program: Program) -> nn.Module:
    """The network with pairs of layers of the inner sizes that a factored program has."""
    names = {value.name or "" for value in program.initializers()}
    for path, layer in list(cast("Iterator[tuple[str, nn.Module]]", network.named_modules())):
        if not isinstance(layer, nn.Linear) or f"{path}.weight.v" not in names:
            continue
        right = array(program.value(f"{path}.weight.v"))
        assert right is not None, "factors are constants"
        parent, _, last = path.rpartition(".")
        setattr(network.get_submodule(parent), last, Pair(layer, min(right.shape)))
    return network


def plain_step(network: nn.Module, ids: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """A training step in torch alone, that says how many seconds it took."""
    network.train()
    inputs, targets = torch.from_numpy(ids), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=WEIGHT_DECAY, fused=True)

    def step() -> float:
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(inputs).flatten(0, -2), targets.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return time.perf_counter() - started

    return step


def step_times(make: Callable[[], nn.Module], ids: np.ndarray, labels: np.ndarray, *, rounds: int, threads: int) -> list[Row]:
    """A row for each share of parameters; the arms take turns."""
    dense = traced(make(), ids)
    programs = {kept: factored(dense, kept) for kept in ARMS}
    steps = {kept: plain_step(by_hand(make(), program), ids, labels) for kept, program in programs.items()}
    batch: Batch = {"ids": ids, "labels": labels}
    options = TrainOptions(weight_decay=WEIGHT_DECAY, threads=threads)
    ours: dict[float, list[float]] = {kept: [] for kept in ARMS}
    hand: dict[float, list[float]] = {kept: [] for kept in ARMS}
    for _ in range(rounds):
        for kept in ARMS:
            ours[kept].append(step_time(programs[kept], [batch], loss="cross_entropy", options=options))
            hand[kept].append(statistics.median(steps[kept]() for _ in range(5)))
    best = {kept: min(found) for kept, found in ours.items()}
    return [
        {
            "kept %": round(100 * kept),
            "parameters": parameters(programs[kept]),
            "step ms": 1e3 * best[kept],
            "× faster": best[DENSE] / best[kept],
            "target": TARGETS.get(kept),
            "by hand, ms": 1e3 * min(hand[kept]),
            "by hand, × faster": min(hand[DENSE]) / min(hand[kept]),
        }
        for kept in ARMS
    ]


def encoder_speed(options: argparse.Namespace) -> list[Row]:
    """The table of the 6 × 384 encoder."""
    rng = np.random.default_rng(0)
    rounds = 1 if options.quick else options.rounds
    return step_times(encoder, rng.integers(1, 1000, (16, 64)), np.arange(16) % 4, rounds=rounds, threads=options.threads)


# ---- training to the end -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Watch:
    """A metric that notes when each score was taken, on a clock that stands still meanwhile, and starts with the first.

    Attributes:
        rate: the score, higher is better.
        seconds, scores: one for each.
    """

    rate: Callable[[Run], float]
    seconds: list[float] = field(default_factory=list[float])
    scores: list[float] = field(default_factory=list[float])
    resumed: float = 0.0

    def __call__(self, run: Run) -> float:
        """Score."""
        last = self.seconds[-1] if self.seconds else 0.0
        self.seconds.append(last + time.perf_counter() - self.resumed if self.seconds else 0.0)
        self.scores.append(self.rate(run))
        self.resumed = time.perf_counter()
        return self.scores[-1]

    def until(self, level: float) -> float | None:
        """Seconds until a score is reached, None if it never is."""
        return next((taken for taken, score in zip(self.seconds, self.scores, strict=True) if score >= level), None)


class Task:
    """A model of the zoo that is trained here.

    Args:
        name: in the zoo, without `train_small_`.
        steps: from scratch; the zoo's own number where not given.
        quick: score on a part of the data.
    """

    def __init__(self, name: str, *, steps: int | None, quick: bool) -> None:
        model = zoo[f"train_small_{name}"]
        assert isinstance(model, TrainedModel), "the zoo trains this one"
        self.model = model
        self.way = model.way
        self.steps = steps or self.way.steps
        self.quick = quick
        self.split = self.way.split()

    def untrained(self, seed: int) -> nn.Module:
        """A network with first weights of a seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return {"character_gpt": character_gpt, "text_classifier": text_classifier}[self.way.network]()

    def rate(self, run: Run) -> float:
        """The zoo's metric; higher is better."""
        found = self.model.score(lambda feeds: dict(run(feeds)), lambda feeds: dict(run(feeds)), quick=self.quick)
        return found.metrics[self.model.primary] * (1 if self.model.higher_is_better else -1)

    def batches(self, seed: int, count: int) -> Callable[[], Iterator[Batch]]:
        """`count` batches each time, of rows drawn on and on."""
        rng = np.random.default_rng(seed)

        def drawn() -> Iterator[Batch]:
            for _ in range(count):
                rows = rng.integers(0, len(self.split.inputs), self.way.batch)
                yield {"ids": self.split.inputs[rows], "labels": self.split.labels[rows].astype(np.int64)}

        return drawn

    def calibration(self) -> list[Batch]:
        """Training rows without labels."""
        return [dict(feeds) for feeds in self.model.feeds(8, batch=self.way.batch)]

    def trained(self, program: Program, seed: int, *, steps: int, lr: float, threads: int) -> Watch:
        """Train to the end, and say how the score went."""
        watch = Watch(self.rate)
        every = max(1, steps // SCORES)
        nw.train(
            program,
            self.batches(seed, every),
            loss="cross_entropy",
            steps=steps,
            lr=lr,
            schedule="linear",
            weight_decay=WEIGHT_DECAY,
            metric=watch,
            seed=seed,
            threads=threads,
        )
        return watch


Runs = dict[float, list[Watch]]


def from_scratch(task: Task, options: argparse.Namespace) -> list[Row]:
    """Untrained networks, every share with every seed."""
    runs: Runs = {kept: [] for kept in ARMS}
    for seed in range(options.seeds):
        dense = traced(task.untrained(seed), task.split.inputs)
        for kept in ARMS:
            program = factored(dense, kept)
            runs[kept].append(task.trained(program, seed, steps=task.steps, lr=task.way.rate, threads=options.threads))
    return _rows(task, runs, [dense.scores[-1] - task.model.point for dense in runs[DENSE]])


def fine_tuned(task: Task, options: argparse.Namespace) -> list[Row]:
    """The trained network, factorized and trained on, every share with every seed."""
    dense = traced(task.model.module(), task.split.inputs)
    programs = {kept: factored(dense, kept, trained=task.calibration()) for kept in ARMS}
    steps = max(1, round(FINE_TUNING * task.steps))
    runs: Runs = {kept: [] for kept in ARMS}
    for seed in range(options.seeds):
        for kept, program in programs.items():
            runs[kept].append(task.trained(program, seed, steps=steps, lr=task.way.rate / 2, threads=options.threads))
    return _rows(task, runs, [run.scores[0] - task.model.point for run in runs[DENSE]])


def _rows(task: Task, runs: Runs, levels: Sequence[float]) -> list[Row]:
    sign = 1 if task.model.higher_is_better else -1
    base = [run.until(level) for run, level in zip(runs[DENSE], levels, strict=True)]
    rows: list[Row] = []
    for kept, found in runs.items():
        times = [run.until(level) for run, level in zip(found, levels, strict=True)]
        reached = [taken for taken in times if taken is not None]
        ratios = [one / other for one, other in zip(base, times, strict=True) if one and other]
        rows.append(
            {
                "kept %": round(100 * kept),
                f"{task.model.primary} before": sign * statistics.fmean(run.scores[0] for run in found),
                **_spread("after", [sign * run.scores[-1] for run in found], 4),
                **_spread("seconds in all", [run.seconds[-1] for run in found], 1),
                "as good": f"{len(reached)} of {len(found)}",
                **_spread("seconds until", reached, 1),
                "× sooner": statistics.fmean(ratios) if ratios else None,
            }
        )
    return rows


def _spread(name: str, values: Sequence[float], places: int) -> Row:
    """Mean, least and most, as one cell."""
    if not values:
        return {name: None}
    return {name: f"{statistics.fmean(values):.{places}f} ({min(values):.{places}f} to {max(values):.{places}f})"}


def task_speed(task: Task, options: argparse.Namespace) -> list[Row]:
    """Time of a step of a task's network on a batch of its data."""
    batch = next(task.batches(0, 1)())
    return step_times(lambda: task.untrained(0), batch["ids"], batch["labels"], rounds=options.rounds, threads=options.threads)


def missed(rows: Sequence[Row]) -> list[str]:
    """The targets that a table of step times misses."""
    return [
        f"{row['kept %']} %: {row['× faster']:.2f} times as fast, not {row['target']}"
        for row in rows
        if isinstance(row["target"], float) and isinstance(row["× faster"], float) and row["× faster"] < row["target"]
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="of speed, gpt, transformer")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="from scratch; the zoo's own number where not given")
    parser.add_argument("--rounds", type=int, default=5, help="in which steps are timed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="score on a part of the data")
    parser.add_argument("--check", action="store_true", help="fail where a target is missed")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    failures: list[str] = []
    parts: list[str] = options.parts or ["speed", "gpt", "transformer"]
    if "speed" in parts:
        rows = encoder_speed(options)
        report(f"a training step of a 6 × 384 encoder, {options.threads} threads", rows)
        failures = missed(rows)
    for name in (part for part in parts if part != "speed"):
        task = Task(name, steps=options.steps, quick=options.quick)
        report(f"{name}: a training step, {options.threads} threads", task_speed(task, options))
        report(f"{name} from scratch, {task.steps} steps, {options.seeds} seeds: mean (least to most)", from_scratch(task, options))
        report(f"{name} fine-tuned, {round(FINE_TUNING * task.steps)} steps, {options.seeds} seeds", fine_tuned(task, options))
    if options.check and failures:
        sys.exit("missed: " + "; ".join(failures))


if __name__ == "__main__":
    main()
