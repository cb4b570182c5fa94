"""Feature maps of the zoo's transformer and gpt made sparse: the curve of zeros against the metric, with the penalty and without; bytes.

`python -m benchmarks.sparse_feature_maps [--models transformer gpt] [--seeds N] [--quick] [--json FILE] [--choose]`. Both arms start
from the trained model and take the same steps on the same rows toward its outputs and labels, one with a `FeatureMapPenalty`. Both are
then quantized, and maps (queries, keys, values, contexts, hidden states) become int8 behind thresholds, for several shares of zeros. The
curves go over the zeros that are *reached*, padding not counted, and are compared between the shares at equal sparsity; the metric is
the zoo's, of that program, on test rows. Last, thresholds within one point of the metric are searched for on held-out rows, for bytes:
maps, the cache of keys and values, weights.

`--choose` prints the curves of several weights of the penalty on the held-out rows: what `SETTINGS` was chosen by. Test rows choose
nothing. Trained arms are kept in `.cache/sparse_maps`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

import netwright as nw
from benchmarks._sparse_map_arms import Arm, Rows, held_out, model_of, score, simplified
from benchmarks._sparse_map_curves import Curve, maps_of, sparsified
from benchmarks._weight_codes import rivals
from benchmarks.table import Row, report
from netwright.backends.onnxruntime import OrtExecutor
from netwright.codec import decode, encode, measure_weights
from netwright.ir.program import Program
from netwright.metrics import Run
from netwright.passes.sparsify import FeatureMap, feature_maps

LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
"""Zeros over all maps at which the arms are compared."""
WEIGHTS = (3.0, 10.0, 30.0)
"""What `--choose` looks at."""
PRUNED = (0.0, 0.5, 0.7)
"""Zeros among the weights, for the codes of weights."""
SETTINGS: Mapping[str, Arm] = MappingProxyType(
    {"transformer": Arm("transformer", 30.0, steps=200, batch=32), "gpt": Arm("gpt", 10.0, steps=120, batch=8)}
)


def main() -> None:
    """Train the arms, draw the curves, measure bytes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["transformer", "gpt"], choices=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one seed, every fifth test row")
    parser.add_argument("--choose", action="store_true", help="curves of several weights on held-out rows, and nothing else")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, list[Row]] = {}
    for name in options.models:
        if options.choose:
            tables = {"held-out rows": list(_choices(name))}
        else:
            tables = measure(name, seeds=1 if options.quick else options.seeds, every=5 if options.quick else 1)
        for title, rows in tables.items():
            found[f"{name}: {title}"] = rows
            report(f"{name}: {title}", rows)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")


def measure(name: str, *, seeds: int, every: int) -> dict[str, list[Row]]:
    """All tables of one model."""
    model, chosen = model_of(name), SETTINGS[name]
    split = model.way.split()
    test = Rows(split.test_inputs[::every], split.test_labels[::every])
    original = score(name, simplified(name), *test)
    curves: dict[str, list[Curve]] = {"without": [], "with": []}
    bytes_: list[Row] = []
    for seed in range(seeds):
        for kind in curves:
            program = _quantized(replace(chosen, weight=chosen.weight if kind == "with" else 0.0, seed=seed))
            curves[kind].append(Curve.of(name, program, test))
            print(f"{name}, {kind}, seed {seed}: {curves[kind][-1]}", flush=True)
            bytes_.extend(_bytes(name, f"{kind}, seed {seed}", program, test, original))
    return {
        f"{model.primary} at equal zeros, mean of {seeds} seeds ({original:.4f} in float)": _compared(name, curves, original),
        "bytes, thresholds searched for one point": bytes_,
        "integer weights, with single weights pruned before": list(_weights(name, test)),
    }


def _compared(name: str, curves: Mapping[str, Sequence[Curve]], original: float) -> list[Row]:
    """Both arms at equal zeros: the mean over seeds, and by how much the seeds differ."""
    rows: list[Row] = []
    for level in LEVELS:
        scores = {kind: [one.score_at(level) for one in found] for kind, found in curves.items()}
        lost = {kind: np.array([_points(name, original, one) for one in found]) for kind, found in scores.items()}
        gained = lost["without"] - lost["with"]
        row: Row = {"zeros": level}
        row |= {kind: round(float(np.mean(found)), 4) for kind, found in scores.items()}
        row |= {f"points lost {kind}": round(float(found.mean()), 2) for kind, found in lost.items()}
        row |= {"points gained": round(float(gained.mean()), 2), "by seed": " ".join(f"{one:+.2f}" for one in gained)}
        row |= {
            f"times fewer bytes {kind}": round(float(np.mean([one.ratio_at(level) for one in found])), 2) for kind, found in curves.items()
        }
        rows.append(row)
    return rows


def _weights(name: str, test: Rows) -> Iterator[Row]:
    """Times fewer bytes of weights than dense int8, by form of code; nothing is trained after pruning."""
    for sparsity in PRUNED:
        prune = f"prune(sparsity={sparsity}, structured=False), " if sparsity else ""
        program = nw.compile(simplified(name), f"{prune}quantize", check=False, latency=False, threads=1).program
        row: Row = {"zeros": sparsity, model_of(name).primary: round(score(name, program, *test), 4)}
        yield row | {form: round(times, 3) for form, times in rivals(program).items()}


def _choices(name: str) -> Iterator[Row]:
    """Each weight's curve on held-out rows, and its area: the points lost, over all levels."""
    rows = held_out(name)
    original = score(name, simplified(name), *rows)
    for weight in (0.0, *WEIGHTS):
        curve = Curve.of(name, _quantized(replace(SETTINGS[name], weight=weight)), rows)
        scores = [curve.score_at(level) for level in LEVELS]
        lost = [_points(name, original, one) for one in scores]
        row: Row = {"weight": weight, **{f"{level:g}": round(one, 4) for level, one in zip(LEVELS, scores, strict=True)}}
        print(row | {"points lost": round(float(np.mean(lost)), 2)}, flush=True)
        yield row | {"points lost": round(float(np.mean(lost)), 2)}


def _quantized(arm: Arm) -> Program:
    return nw.compile(arm.program(), "quantize", check=False, latency=False, threads=1).program


def _points(name: str, before: float, after: float) -> float:
    """Points lost."""
    model = model_of(name)
    lost = (before - after) / model.point
    return lost if model.higher_is_better else -lost


def _bytes(name: str, arm: str, program: Program, test: Rows, original: float) -> list[Row]:
    rows: list[Row] = []
    model, held = model_of(name), held_out(name)

    def metric(run: Run) -> float:
        found = [run({model.way.input: held.inputs[at : at + 100]})["logits"] for at in range(0, len(held.inputs), 100)]
        return model.measure(np.concatenate(found), held.labels)[model.primary] * (1 if model.higher_is_better else -1)

    sparse = sparsified(name, program, f"drop={model.point}", metric)
    lost = _points(name, original, score(name, sparse, *test))
    measured = maps_of(name, sparse, test)
    weights = measure_weights(sparse)
    groups = [(one.name, one) for one in measured.maps] + [("all maps", measured.total()), ("cache", measured.cache)]
    thresholds = {one.name: one.threshold for one in feature_maps(sparse) if isinstance(one, FeatureMap)}
    for title, one in groups:
        rows.append(
            {
                "penalty": arm,
                "map": title,
                "kind": one.kind,
                "threshold": round(thresholds[title], 4) if title in thresholds else None,
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
                "points lost": round(lost, 2) if title == "all maps" else None,
            }
        )
    rows.append({"penalty": arm, "map": "integer weights", "int8": weights.dense, "best": weights.coded})
    cache, tokens = measured.cache, measured.positions
    rows.append({"penalty": arm, "map": "cache, of each token", "int8": round(cache.elements / tokens), "best": round(cache.best / tokens)})
    rows[-1]["times fewer"] = round(cache.ratio, 2)
    rows[-2]["times fewer"] = round(weights.dense / weights.coded, 3)
    print(json.dumps([row for row in rows if row["map"] in ("all maps", "cache") or row["map"] not in thresholds]), flush=True)
    _speed(name, sparse)
    return rows


def _speed(name: str, program: Program) -> None:
    """Real encoding and decoding of one map, checked, in values a second."""
    one = next(found for found in feature_maps(program) if isinstance(found, FeatureMap) and found.grid is not None)
    assert one.grid is not None
    way = model_of(name).way
    grid = one.grid.outputs[0].name or ""
    integers = OrtExecutor().run(program, {way.input: way.split().test_inputs[:100]}, [grid])[grid]
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


if __name__ == "__main__":
    main()
