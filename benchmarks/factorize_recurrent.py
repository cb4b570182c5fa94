"""Recurrent models with half of their parameters: thin weights, fewer hidden units, training toward the original; and a table of ranks.

    python -m benchmarks.factorize_recurrent [MODEL …] [--shares 0.5 0.25] [--steps N] [--seeds 1] [--skip-ranks] [--threads N] [--check]

First table of each model: `factorize` alone, with a share of the parameters of each weight left, as matrices (`svd` knows the weights
alone, `whitened` what they see) and as tensor trains, without training. `input` are the weights that inputs meet, which stay in ONNX's
recurrent operators; `+ state` (`recurrent=True`) those of the states too, for which each layer becomes a Scan. Convolutions and products
of the model are left whole.

Second table: half of all parameters. ONNX's recurrent operators take the weights of the state whole, half of each layer, so that hidden
units go first where `factorize` alone cannot halve a model. Then the result is trained toward the original's outputs, on inputs that no
evaluation uses, without labels (g2p_gru: with the pronunciations of the words that it is trained on).

Latency is ONNX Runtime's on one thread, in turns with the original. With `--check`, exits with 1 where a model of the second table
keeps more than half of its parameters, loses more than 2 points of its metric or takes more than 0.75 of the original's time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

import netwright as nw
from benchmarks._other_voices import spoken
from benchmarks.table import Cell, Row, report
from benchmarks.zoo import Feeds, Run, Scores, ZooModel, open_session, zoo
from benchmarks.zoo.audio import can_speak
from benchmarks.zoo.g2p_gru import SCORED_WORDS, STOP, dictionary, words_right
from netwright.backends.onnxruntime import SessionOptions, lower, measure
from netwright.ir.cost import cost
from netwright.ir.program import Program
from netwright.training import Distill

HALF, POINTS, RATIO = 0.5, 2.0, 0.75
"""Targets: parameters left, points of the metric lost, latency over the original's."""
METHODS = (("svd", False), ("whitened", False), ("tt", False), ("whitened", True))
"""Of the table of ranks, each without or with the weights of states."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is halved.

    Attributes:
        by: the pipeline.
        steps, batch, rate: of the training.
        states: how much the states of recurrent layers count beside the outputs.
        labels: whether the labels of the training inputs count too.
        calibration: batches.
        rows: in a batch of them.
        whole: patterns of weights that the table of ranks leaves whole.
    """

    by: str
    steps: int
    batch: int
    rate: float
    states: float = 0.0
    labels: bool = False
    calibration: int = 16
    rows: int = 8
    whole: tuple[str, ...] = ()


RECIPES: Mapping[str, Recipe] = {
    "resemblyzer": Recipe("prune(scope='hidden', ratio=0.3)", 400, 16, 3e-4, whole=("linear*",)),
    "silero": Recipe("factorize(budget={'params': 0.5}, exclude='stft*')", 300, 8, 3e-4, whole=("stft*", "encoder*", "output*")),
    "train_small_lstm": Recipe("prune(scope='hidden', budget={'params': 0.5})", 300, 32, 1e-3, whole=("head*",)),
    "g2p_gru": Recipe(
        "prune(scope='hidden', ratio=0.0625, importance='activation'), factorize(rank={'enc': 28, 'dec': 36}), merge",
        steps=5000,
        batch=64,
        rate=3e-3,
        states=3.0,
        labels=True,
        calibration=64,
        rows=32,
        whole=("*emb*", "fc*"),
    ),
}
"""g2p_gru has 29 letters, so that rank 28 costs its encoder nothing; `merge` multiplies the first factors into the tables before them."""
_MOST_BATCHES = 2000


def main() -> None:
    """Factorize, score, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(RECIPES), help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.25])
    parser.add_argument("--steps", type=int, help="of training; a number for each model where not given")
    parser.add_argument("--seeds", type=int, default=1, help="how often each model is trained")
    parser.add_argument("--skip-ranks", action="store_true")
    parser.add_argument("--skip-halves", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of training")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    unknown = sorted({*options.models} - {*RECIPES})
    if unknown:
        parser.error(f"{', '.join(unknown)}: not among {', '.join(RECIPES)}")
    torch.set_num_threads(options.threads)
    missed: list[str] = []
    halves: list[Row] = []
    for name in options.models:
        subject = Subject.of(name)
        if not options.skip_ranks:
            started, rows = time.perf_counter(), list(ranks(subject, options.shares))
            shown = ", ".join(f"{metric} {value:.4f}" for metric, value in subject.before.metrics.items())
            report(f"{name}: {shown} as it was; factorize alone, {time.perf_counter() - started:.0f} s", rows)
        if not options.skip_halves:
            row = halved(subject, options)
            halves.append(row)
            missed.extend(f"{name}: {reason}" for reason in _missed(row))
    if halves:
        report(f"half of all parameters, {options.seeds} training(s) each", halves)
    for line in missed:
        print(f"missed: {line}")
    if options.check and missed:
        raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, its recipe, and its scores as it was."""

    model: ZooModel
    recipe: Recipe
    original: Program
    before: Scores

    @classmethod
    def of(cls, name: str) -> Subject:
        """The zoo's model, simplified."""
        original = nw.compile(zoo[name].onnx(), "simplify", latency=False).program
        return cls(zoo[name], RECIPES[name], original, scored(zoo[name], original))

    def feeds(self, count: int, *, batch: int, seed: int) -> list[Feeds]:
        """Inputs that no evaluation uses; for voices, speech where it can be synthesised."""
        if self.model.name == "resemblyzer" and can_speak():
            return spoken(count, batch=batch, seed=seed)
        return self.model.feeds(count, batch=batch, seed=seed)

    def calibration(self) -> list[Feeds]:
        """Always the same."""
        return self.feeds(self.recipe.calibration, batch=self.recipe.rows, seed=1)


def ranks(subject: Subject, shares: list[float]) -> Iterator[Row]:
    """The table of one model: each method at each share of its sites' parameters."""
    calibration = subject.calibration()
    for method, state in METHODS:
        for share in shares:
            text = f"factorize(method='{method}', ratio={1 - share:g}, recurrent={state}, exclude={subject.recipe.whole!r})"
            result = nw.compile(subject.original, text, calibration=calibration, latency=False)
            decisions = next(iter(result.plans.values())).decisions
            yield {
                "method": method,
                "weights": "input + state" if state else "input",
                "share": share,
                "ranks": _shown(decisions) or _why_none(result.program),
                **compared(subject, result.program),
            }


def halved(subject: Subject, options: argparse.Namespace) -> Row:
    """The row of one model in the second table."""
    recipe, model, started = subject.recipe, subject.model, time.perf_counter()
    steps: int = recipe.steps if options.steps is None else options.steps
    thin = nw.compile(subject.original, recipe.by, calibration=subject.calibration(), latency=False).program
    made = [trained(subject, thin, steps, seed, options.threads) for seed in range(options.seeds)] if steps else [thin]
    rows = [compared(subject, one) for one in made]
    untrained = compared(subject, thin) if steps else rows[0]
    lost = [one["points lost"] for one in rows]
    if model.name == "g2p_gru":
        familiar(subject, made)
    return {
        "model": model.name,
        "by": recipe.by,
        "parameters": untrained["parameters"],
        "metric": model.primary,
        "before": untrained["before"],
        "untrained": untrained["after"],
        "steps": steps,
        "trained": _mean(one["after"] for one in rows),
        "points lost": _mean(lost),
        "each": " ".join(map(str, lost)),
        "latency": _mean(one["latency"] for one in rows),
        "seconds": round(time.perf_counter() - started),
    }


def familiar(subject: Subject, made: Sequence[Program]) -> None:
    """Print the score of g2p_gru on words that it, too, was trained on.

    The original was trained on the words that score it, what is trained here was not: the second table holds what it learned by heart
    against what the other has never seen.
    """
    entries = dictionary()[SCORED_WORDS : 2 * SCORED_WORDS]
    before, *after = (heard(one, lambda run: words_right(run, entries)).metrics["words"] for one in (subject.original, *made))
    shown = ", ".join(f"{one:.4f} ({(before - one) / subject.model.point:.2f} points lost)" for one in after)
    print(f"{subject.model.name}: of {SCORED_WORDS} words that both were trained on, {before:.4f} before, {shown} after")


def trained(subject: Subject, thin: Program, steps: int, seed: int, threads: int) -> Program:
    """A copy, trained toward the original."""
    recipe = subject.recipe
    states = [node.outputs[0].name or "" for node in thin.nodes("LSTM", "GRU", "RNN")]
    likeness = Distill(hidden=states if recipe.states else None, hidden_weight=recipe.states)
    batches = subject.feeds(min(steps, _MOST_BATCHES), batch=recipe.batch, seed=2 + seed)
    return nw.train(
        thin,
        [with_labels(feeds) for feeds in batches] if recipe.labels else batches,
        teacher=subject.original,
        distill=likeness,
        loss="cross_entropy" if recipe.labels else None,
        steps=steps,
        lr=recipe.rate,
        seed=seed,
        threads=threads,
    )


def with_labels(feeds: Feeds) -> Feeds:
    """Words with the phoneme that comes next at each step; nothing counts once the word is over."""
    ahead = np.concatenate([feeds["tgt"][:, 1:], np.full_like(feeds["tgt"][:, :1], STOP)], axis=1)
    return {**feeds, "labels": np.where(np.cumsum(ahead == STOP, axis=1) > 1, _IGNORED, ahead)}


_IGNORED = -100


def compared(subject: Subject, made: Program) -> Row:
    """Size, metric and latency beside the original's."""
    model, after = subject.model, scored(subject.model, made)
    executables = [lower(one, options=SessionOptions(threads=1)) for one in (subject.original, made)]
    latency = measure(executables, model.feeds(1, seed=3)[0], rounds=30, seconds=5)[1]
    lost, metrics = model.loss(subject.before, after), (subject.before.metrics, after.metrics)
    before_after = [None if model.primary not in one else round(one[model.primary], 4) for one in metrics]
    return {
        "parameters": round(made.fact(cost).params / subject.original.fact(cost).params, 3),
        "before": before_after[0],
        "after": before_after[1],
        "points lost": None if lost is None else round(lost, 2),
        "latency": round(latency.ratio_to_first, 3),
    }


def scored(model: ZooModel, program: Program) -> Scores:
    """The metrics."""
    return heard(program, model.evaluate)


def heard(program: Program, score: Callable[[Run], Scores]) -> Scores:
    """A score of the program's file as ONNX Runtime runs it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        nw.save(program, path)
        return score(open_session(path))


def _shown(decisions: Mapping[str, Mapping[str, object]]) -> str:
    return ", ".join("·".join(map(str, cast("list[int]", one["ranks"]))) for one in decisions.values())


def _why_none(program: Program) -> str:
    """Why no weight that was asked for was factorized."""
    reasons = (miss.reason for miss in program.ledger.misses if miss.rule == "factorize")
    found = dict.fromkeys(reason for reason in reasons if not any(words in reason for words in _NOT_ASKED))
    return "none: " + "; ".join(reason.removeprefix("left whole: ") for reason in found)


_NOT_ASKED = ("exclude names it", "as a bias or a state", "recurrent=True")


def _missed(row: Row) -> Iterator[str]:
    for key, limit, what in (
        ("parameters", HALF, "of its parameters left"),
        ("points lost", POINTS, "points lost"),
        ("latency", RATIO, "of the original's latency"),
    ):
        found = cast("float | None", row[key])
        if found is None or found > limit:
            yield f"{found} {what}, the target is {limit}" if found is not None else f"{what}: not measured here"


def _mean(found: Iterable[Cell]) -> float | None:
    numbers = cast("list[float | None]", list(found))
    return None if None in numbers else round(statistics.mean(cast("list[float]", numbers)), 4)


if __name__ == "__main__":
    main()
