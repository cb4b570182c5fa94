"""Feature maps of the zoo's transformer and gpt made sparse: the curve of zeros against the metric, with the penalty and without; bytes.

`python -m benchmarks.sparse_feature_maps [--models transformer gpt] [--steps N] [--weight W] [--quick] [--json FILE]`. Both arms start
from the trained model and take the same steps on the same rows toward its outputs and labels, one with a `FeatureMapPenalty`. Both are
then quantized, and maps (queries, keys, values, contexts, hidden states) become int8 behind thresholds for each share of zeros; the
metric is the zoo's, of that program, on test rows that neither training nor thresholds saw. Last, thresholds within one point of the
metric are searched for on training rows, for bytes: maps, the cache of keys and values, weights. Trained arms are kept in
`.cache/sparse_maps`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import TrainedModel, zoo
from netwright.backends.onnxruntime import OrtExecutor
from netwright.codec import MapReport, decode, encode, measure_maps, measure_weights
from netwright.ir.program import Program
from netwright.metrics import MetricFunction, Run
from netwright.passes.context import Feeds
from netwright.passes.sparsify import FeatureMap, feature_maps
from netwright.training import Distill, FeatureMapPenalty

SHARES = (0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
QUICK_SHARES = (0.6, 0.7, 0.8, 0.85)
CACHE = Path(".cache/sparse_maps")
SEARCHED = 256
"""Training rows, drawn apart from those of calibration, on which the metric is taken while thresholds are searched."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One model and how it is trained."""

    model: TrainedModel
    steps: int
    batch: int
    lr: float
    weight: float
    quick: bool = False

    def trained(self, program: Program, *, penalty: bool) -> Program:
        """One arm, from the cache where it was trained before."""
        kind = f"hoyer{self.weight:g}" if penalty else "none"
        path = CACHE / f"{self.model.name}.{self.model.recipe}.{self.steps}x{self.batch}.{self.lr:g}.{kind}.onnx"
        if path.exists():
            return nw.load(path)
        split = self.model.way.split()
        started = time.perf_counter()
        trained = nw.train(
            program,
            {self.model.way.input: split.inputs, "labels": split.labels.astype(np.int64)},
            loss="cross_entropy",
            teacher=program,
            distill=Distill(outputs="soft", hidden="auto"),
            feature_maps=FeatureMapPenalty(weight=self.weight) if penalty else None,
            steps=self.steps,
            batch_size=self.batch,
            lr=self.lr,
            threads=1,
        )
        print(f"{self.model.name}, {kind}: {self.steps} steps in {time.perf_counter() - started:.0f} s", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.onnx")
        nw.save(trained, partial)
        partial.replace(path)
        return trained

    def score(self, program: Program) -> float:
        """The zoo's metric on the test rows."""
        executor = OrtExecutor()

        def call(feeds: Feeds) -> Feeds:
            return executor.run(program, feeds)

        scores = self.model.evaluate(call, quick=self.quick, original=call)
        return scores.metrics[self.model.primary]

    def points(self, before: float, after: float) -> float:
        """Points lost."""
        lost = (before - after) / self.model.point
        return lost if self.model.higher_is_better else -lost


def main() -> None:
    """Train the arms, draw the curves, measure bytes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["transformer", "gpt"])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--weight", type=float, default=10.0)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--quick", action="store_true", help="every fifth test row, four shares of zeros")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, list[Row]] = {}
    for name in options.models:
        model = zoo[f"train_small_{name}"]
        assert isinstance(model, TrainedModel), "the zoo trains these"
        setting = Setting(model, options.steps, 32 if name == "transformer" else 8, options.lr, options.weight, options.quick)
        for title, rows in measure(setting).items():
            found[f"{model.name}: {title}"] = rows
            report(f"{model.name}: {title}", rows)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")


def measure(setting: Setting) -> dict[str, list[Row]]:
    """All tables of one model."""
    model = setting.model
    program = nw.compile(nw.load(model.onnx()), "simplify", check=False, latency=False).program
    original = setting.score(program)
    quantized = {
        arm: nw.compile(setting.trained(program, penalty=arm == "with"), "quantize", check=False, latency=False, threads=1).program
        for arm in ("without", "with")
    }
    scores = {arm: setting.score(one) for arm, one in quantized.items()}
    print(
        f"{model.name}: {model.primary} {original:.4f} float; quantized {scores['without']:.4f} without, {scores['with']:.4f} with",
        flush=True,
    )
    return {
        f"zeros against {model.primary} ({original:.4f} in float)": _curve(setting, quantized, scores, original),
        "bytes, thresholds searched for one point": [row for arm, one in quantized.items() for row in _bytes(setting, arm, one, original)],
    }


def _curve(setting: Setting, quantized: Mapping[str, Program], scores: Mapping[str, float], original: float) -> list[Row]:
    rows: list[Row] = [{"zeros asked for": 0.0, **{f"{arm}: {setting.model.primary}": round(score, 4) for arm, score in scores.items()}}]
    for share in QUICK_SHARES if setting.quick else SHARES:
        row: Row = {"zeros asked for": share}
        for arm, one in quantized.items():
            sparse = _sparse(setting, one, f"zeros={share}")
            total = _maps(setting, sparse).total()
            score = setting.score(sparse)
            row[f"{arm}: {setting.model.primary}"] = round(score, 4)
            row[f"{arm}: points lost"] = round(setting.points(original, score), 2)
            row[f"{arm}: zeros"] = round(1 - total.density, 4)
            row[f"{arm}: times fewer bytes"] = round(total.ratio, 2)
        rows.append(row)
        print(row, flush=True)
    return rows


def _bytes(setting: Setting, arm: str, program: Program, original: float) -> list[Row]:
    rows: list[Row] = []
    point = setting.model.point
    split = setting.model.way.split()
    picked = np.random.default_rng(1).permutation(len(split.inputs))[:SEARCHED]
    inputs, labels = split.inputs[picked], split.labels[picked]

    def metric(run: Run) -> float:
        scores = setting.model.measure(run({setting.model.way.input: inputs})["logits"], labels)
        return scores[setting.model.primary] * (1 if setting.model.higher_is_better else -1)

    sparse = _sparse(setting, program, f"drop={point}", metric)
    score = setting.score(sparse)
    measured = _maps(setting, sparse)
    weights = measure_weights(sparse)
    groups = [(one.name, one) for one in measured.maps] + [("all maps", measured.total()), ("cache", measured.cache)]
    thresholds = {one.name: one.threshold for one in feature_maps(sparse) if isinstance(one, FeatureMap)}
    for name, one in groups:
        rows.append(
            {
                "penalty": arm,
                "map": name,
                "kind": one.kind,
                "threshold": round(thresholds[name], 4) if name in thresholds else None,
                "density": round(one.density, 3),
                "zero by threshold": round(one.by_threshold / one.elements, 3),
                "by rounding": round(one.by_rounding / one.elements, 3),
                "int8": one.elements,
                "packed": one.coded["packed"],
                "golomb": one.coded["golomb"],
                "runs": one.coded["runs"],
                "best": one.best,
                "times fewer": round(one.ratio, 2),
                "MACs skipped": round(one.skippable / one.macs, 3) if one.macs else None,
                "points lost": round(setting.points(original, score), 2) if name == "all maps" else None,
            }
        )
    rows.append({"penalty": arm, "map": "integer weights", "int8": weights.dense, "best": weights.coded})
    cache, tokens = measured.cache, measured.positions
    rows.append({"penalty": arm, "map": "cache, of each token", "int8": round(cache.elements / tokens), "best": round(cache.best / tokens)})
    rows[-1]["times fewer"] = round(cache.ratio, 2)
    rows[-2]["times fewer"] = round(weights.dense / weights.coded, 3)
    print(json.dumps(rows[-4:]), flush=True)
    _speed(setting, sparse)
    return rows


def _speed(setting: Setting, program: Program) -> None:
    """Real encoding and decoding of one map, checked, in values a second."""
    one = next(found for found in feature_maps(program) if isinstance(found, FeatureMap) and found.grid is not None)
    assert one.grid is not None
    split = setting.model.way.split()
    name = one.grid.outputs[0].name or ""
    integers = OrtExecutor().run(program, {setting.model.way.input: split.test_inputs[:100]}, [name])[name]
    for engine in ("numba", "numpy"):
        encode(integers, engine=engine)
        decode(encode(integers, engine=engine), engine=engine)
        started = time.perf_counter()
        data = encode(integers, engine=engine)
        middle = time.perf_counter()
        back = decode(data, engine=engine)
        end = time.perf_counter()
        assert back.dtype == integers.dtype
        assert np.array_equal(back, integers)
        rates = f"{integers.size / (middle - started) / 1e6:.0f} and {integers.size / (end - middle) / 1e6:.0f}"
        print(
            f"%{one.name} by {engine}: {integers.size:,} values in {len(data):,} bytes, exact; {rates} million values a second", flush=True
        )


def _sparse(setting: Setting, program: Program, how: str, metric: MetricFunction | None = None) -> Program:
    split = setting.model.way.split()
    calibration = {setting.model.way.input: split.inputs[np.random.default_rng(0).permutation(len(split.inputs))[:64]]}
    result = nw.compile(
        program, f"sparsify_activations({how}, bits=8)", calibration=calibration, metric=metric, check=False, latency=False, threads=1
    )
    notes = [row.note for row in result.report.passes if row.note]
    if notes:
        print("; ".join(notes), flush=True)
    return result.program


def _maps(setting: Setting, program: Program) -> MapReport:
    split = setting.model.way.split()
    rows = split.test_inputs[:100]
    return measure_maps(program, [{setting.model.way.input: rows[at : at + 50]} for at in (0, 50)], OrtExecutor())


if __name__ == "__main__":
    main()
