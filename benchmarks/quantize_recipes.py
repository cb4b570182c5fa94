"""Recipes on real models: what each step buys in error, and what it costs in time, beside the plain plan.

    python -m benchmarks.quantize_recipes [--scheme dynamic] [--recipes fast balanced best] [--batches N] [--full] [NAME ...]

Calibration data is the model's own feeds, which no score uses; a fifth of them judges the steps. Columns: `error` is the squared error of
outputs on that fifth, of what varies of them; `lost` the fall of the primary metric and `cosine` the agreement with the original, both on
evaluation data; `ms` the best time of one run, one thread, all variants in turns (CPU time of the thread); `seconds` what improving took.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import zoo
from benchmarks.zoo.sessions import Run, open_session
from netwright.backends.onnxruntime import OrtExecutor
from netwright.passes import Context
from netwright.passes.applying import apply_all
from netwright.passes.quantize import Quantize
from netwright.passes.quantize.carrying import Carrying
from netwright.passes.quantize.equalizing import SMOOTH, smooth_rewrites, smoothings_of
from netwright.passes.quantize.recipes import RECIPES, Judge, improved, split

if TYPE_CHECKING:
    from netwright.ir import Program
    from netwright.passes import Plan

BATCH = 16
ROUNDS = 30


def main() -> None:
    """Measure the models named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["minilm"])
    parser.add_argument("--scheme", default="dynamic", choices=("auto", "dynamic", "static"))
    parser.add_argument("--recipes", nargs="*", default=["balanced"], choices=tuple(RECIPES))
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--full", action="store_true", help="the whole evaluation, not its quick part")
    options = parser.parse_args()
    for name in options.names:
        report(f"{name}, {options.scheme}", _rows(name, options.scheme, options.recipes, options.batches, quick=not options.full))


def _rows(name: str, scheme: str, recipes: list[str], batches: int, *, quick: bool) -> list[Row]:
    model = zoo[name]
    program = nw.compile(model.onnx(), "simplify", latency=False, threads=1).program
    feeds = [model.feeds(1, batch=BATCH, seed=seed)[0] for seed in range(batches)]
    fit, held = split(program, Context(calibration=feeds, executor=OrtExecutor(), threads=1))
    plan = Quantize(scheme=scheme).make_plan(program, fit)  # type: ignore[arg-type]
    assert fit.executor is not None
    judge = Judge(program, held, fit.executor)

    def carry(before: Program, tried: Plan) -> Program:
        """Smoothings first, then integers."""
        clone = before.clone()
        apply_all(clone, smooth_rewrites(clone, smoothings_of(tried.decisions)))
        rest = {key: decision for key, decision in tried.decisions.items() if not key.startswith(SMOOTH)}
        whole = type(tried)(pass_name=tried.pass_name, fingerprint=tried.fingerprint, decisions=rest)
        return Carrying(fit).carried(clone, whole)

    original = model.original()
    before = model.evaluate(original, original=original, quick=quick)
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, Run] = {"float": open_session(model.onnx())}
        rows: dict[str, Row] = {}
        for label in ("plain", *recipes):
            started = time.perf_counter()
            chosen = plan if label == "plain" else improved(program, plan, carry, fit, label, held)
            seconds = time.perf_counter() - started
            made, path = carry(program, chosen), Path(folder) / f"{label}.onnx"
            nw.save(made, path)
            runs[label] = open_session(path)
            scores = model.evaluate(runs[label], original=original, quick=quick)
            lost = model.loss(before, scores)
            rows[label] = {
                "plan": label,
                "error": float(f"{judge.error(made):.4g}"),
                "lost": None if lost is None else round(lost, 3),
                "cosine": round(scores.metrics["cosine"], 5) if "cosine" in scores.metrics else None,
                "seconds": round(seconds, 1),
                "said": chosen.note,
            }
        best = _best_ms(runs, model.feeds(1)[0])
    for label, row in rows.items():
        row["ms"] = round(best[label], 3)
        row["speed-up"] = round(best["float"] / best[label], 2)
    return list(rows.values())


def _best_ms(runs: dict[str, Run], feeds: dict[str, np.ndarray]) -> dict[str, float]:
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for label, run in runs.items():
            started = time.thread_time()
            run(feeds)
            best[label] = min(best[label], 1e3 * (time.thread_time() - started))
    return best


if __name__ == "__main__":
    main()
