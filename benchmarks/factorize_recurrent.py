"""Recurrent models with half of their parameters: thin input weights, fewer hidden units, training toward the original; and a table of ranks.

    python -m benchmarks.factorize_recurrent [MODEL …] [--steps N] [--shares 0.75 0.5 0.25] [--skip-ranks] [--check]

First table: `factorize` alone, at several shares of the input weights of each layer, as matrices and as tensor trains, without training.
ONNX's recurrent operators take the weights of the state whole, so that alone it cannot halve a model. Second table: half of all
parameters by `prune(scope='hidden')` and `factorize` together, then trained toward the original's outputs on inputs without labels.

Latency is ONNX Runtime's on one thread, in turns with the original. With `--check`, exits with 1 where a model of the second table
loses more than 2 points of its metric or takes more than 0.75 of the original's time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import Scores, ZooModel, open_session, zoo
from netwright.backends.onnxruntime import SessionOptions, lower, measure
from netwright.ir.cost import cost
from netwright.ir.program import Program

MODELS = ("resemblyzer", "g2p_gru", "train_small_lstm")
HALF = {
    "resemblyzer": "simplify, prune(scope='hidden', ratio=0.2), factorize(budget={'params': 0.5}, exclude='linear*')",
    "g2p_gru": "simplify, prune(scope='hidden', ratio=0.2), factorize(budget={'params': 0.5})",
    "train_small_lstm": "simplify, prune(budget={'params': 0.5}, scope='all')",
}
"""How half of the parameters go; factors where a layer's input is wide enough for them."""
STEPS = {"resemblyzer": 300, "g2p_gru": 1500, "train_small_lstm": 300}
POINTS, RATIO = 2.0, 0.75
"""Targets: points of the metric lost, latency over the original's."""


def main() -> None:
    """Factorize, score, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"of {', '.join(MODELS)}")
    parser.add_argument("--steps", type=int, help="of training; a number for each model where not given")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.75, 0.5, 0.25])
    parser.add_argument("--skip-ranks", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    missed: list[str] = []
    halves: list[Row] = []
    for name in options.models:
        model, original = zoo[name], nw.compile(zoo[name].onnx(), "simplify", latency=False).program
        before = scored(model, original)
        if not options.skip_ranks:
            report(f"{name}: factorize alone", list(ranks(model, original, before, options.shares)))
        row = halved(model, original, before, options)
        halves.append(row)
        if (row["points lost"] or 0) > POINTS or (row["latency"] or 1) > RATIO:  # pyright: ignore[reportOperatorIssue]
            missed.append(f"{name}: {row['points lost']} points lost, latency {row['latency']} of the original's")
    report("half of all parameters", halves)
    for line in missed:
        print(f"missed: {line}")
    if options.check and missed:
        raise SystemExit(1)


def ranks(model: ZooModel, original: Program, before: Scores, shares: list[float]) -> list[Row]:
    """The table of one model: each method at each share of its sites' parameters."""
    calibration = model.feeds(16, batch=8, seed=1)
    rows: list[Row] = []
    for method in ("svd", "whitened", "tt"):
        for share in shares:
            text = f"factorize(method='{method}', ratio={1 - share})"
            result = nw.compile(original, text, calibration=calibration, latency=False)
            decisions = next(iter(result.plans.values())).decisions
            rows.append(
                {
                    "method": method,
                    "share": share,
                    "ranks": "; ".join(f"{'×'.join(map(str, one['ranks']))}" for one in decisions.values()) or "none pays",  # pyright: ignore[reportArgumentType]
                    **compared(model, original, before, result.program),
                }
            )
    return rows


def halved(model: ZooModel, original: Program, before: Scores, options: argparse.Namespace) -> Row:
    """The row of one model in the second table."""
    steps: int = options.steps if options.steps is not None else STEPS[model.name]
    started = time.perf_counter()
    thin = nw.compile(original, HALF[model.name], calibration=model.feeds(16, batch=8, seed=1), latency=False).program
    plain = compared(model, original, before, thin)
    batches = model.feeds(min(steps, 400), batch=16, seed=2)
    epochs = -(-steps // len(batches))
    trained = nw.train(thin, batches, teacher=original, epochs=epochs, lr=options.lr)
    found = compared(model, original, before, trained)
    return {
        "model": model.name,
        "by": HALF[model.name].removeprefix("simplify, "),
        **{f"untrained {key}": plain[key] for key in (model.primary, "points lost")},
        "steps": steps,
        **found,
        "seconds": round(time.perf_counter() - started),
    }


def compared(model: ZooModel, original: Program, before: Scores, made: Program) -> Row:
    """Size, metric and latency beside the original's."""
    feeds = model.feeds(1, seed=3)[0]
    executables = [lower(one, options=SessionOptions(threads=1)) for one in (original, made)]
    latency = measure(executables, feeds, rounds=30, seconds=10)[1]
    after = scored(model, made)
    return {
        "parameters": round(made.fact(cost).params / original.fact(cost).params, 3),
        f"{model.primary} before": round(before.metrics[model.primary], 4),
        model.primary: round(after.metrics[model.primary], 4),
        "points lost": round(model.loss(before, after) or 0.0, 2),
        "latency": round(latency.ratio_to_first, 3),
    }


def scored(model: ZooModel, program: Program) -> Scores:
    """The metrics, as ONNX Runtime runs the program's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        nw.save(program, path)
        return model.evaluate(open_session(path))


if __name__ == "__main__":
    main()
