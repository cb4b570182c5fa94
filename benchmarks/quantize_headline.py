"""The headline: integers alone, and integers after structure, against the float file on ONNX Runtime, one thread.

    python -m benchmarks.quantize_headline [integers|structure] [--seconds S] [--json FILE] [NAME ...]

`integers`: `simplify(opset=20), quantize(tune='latency', recipe='balanced')` with calibration data. BERT-base and ResNet-50 have random
weights: no recipe, and their outputs are compared (relative error; of ResNet the top-1 agreement too). `structure`: pruned or factorized,
trained back, then quantized. Files are timed in turns, the best CPU time of the thread; scores are the zoo's, on data that nothing was
fitted to.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

import netwright as nw
from benchmarks.exports import example_feeds, export_path
from benchmarks.finetune import RECIPES
from benchmarks.quantize_peers import best_ms
from benchmarks.table import Row, report
from benchmarks.zoo import Feeds, ZooModel, open_session, zoo

INTEGERS = "simplify(opset=20), quantize(tune='latency', recipe='balanced')"
UNTRAINED = "simplify(opset=20), quantize(tune='latency')"
"""Of models with random weights: there is no accuracy to win back."""
LIMITS: Mapping[str, float] = {"bert": 3.0, "minilm": 2.4, "resnet50": 3.4, "efficientnet_lite0": 2.1}
"""Speed-ups aimed at."""

TOKENS = (21, 128)


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A model whose structure gives way before its weights become integers.

    Attributes:
        name: of the zoo.
        pipeline: passes.
        steps: of training, with `batch` rows each.
    """

    name: str
    pipeline: str
    steps: int
    batch: int


SOFT = "distill={'outputs': 'soft', 'temperature': 2.0}"
SHRUNK: tuple[Shrunk, ...] = (
    Shrunk(
        "minilm",
        "simplify(opset=20), prune(budget={'macs': 0.5}), recover(steps=300, lr=2e-4, distill={'hidden': 'auto'}), quantize",
        300,
        32,
    ),
    Shrunk(
        "train_small_cnn", f"prune(ratio=0.4), recover(steps=800, lr=1e-3, {SOFT}), simplify(opset=20), quantize(tune='latency')", 800, 64
    ),
    Shrunk("digit_cnn", f"prune(ratio=0.4), recover(steps=1200, lr=2e-3, {SOFT}), simplify(opset=20), quantize(tune='latency')", 1200, 64),
)


def main() -> None:
    """Measure one table, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", default="both", choices=("integers", "structure", "both"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=float, default=20.0, help="timing of one model ends after this long")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.table != "structure":
        rows = [row for name in options.names or LIMITS for row in _integers(name, options.seconds)]
        report(f"integers alone: {INTEGERS} (no recipe for random weights)", rows, path=options.json)
    if options.table != "integers":
        wanted = [one for one in SHRUNK if not options.names or one.name in options.names]
        report("structure, then integers", [row for one in wanted for row in _structure(one, options.seconds)])


def _integers(name: str, seconds: float) -> Iterable[Row]:
    if name in zoo:
        model = zoo[name]
        source, calibration = model.onnx(), model.feeds(32, batch=4)
    else:
        model, source = None, export_path(name, 20)
        calibration = [example_feeds(name, seed=seed) for seed in range(1, 9)]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "quantized.onnx"
        started = time.perf_counter()
        pipeline = UNTRAINED if model is None else INTEGERS
        nw.compile(source, pipeline, calibration=calibration, latency=False, threads=1).save(made)
        took = time.perf_counter() - started
        quality = _random_quality(name, source, made) if model is None else _quality(model, made)
        for label, feeds in _timed_on(name, model):
            times = best_ms({"float": source, "integers": made}, feeds, seconds)
            yield {
                "model": label,
                "float ms": round(times["float"], 3),
                "ms": round(times["integers"], 3),
                "speed-up": round(times["float"] / times["integers"], 2),
                "wanted": LIMITS.get(name),
                "size": round(made.stat().st_size / source.stat().st_size, 3),
                **quality,
                "seconds": round(took, 1),
            }


def _timed_on(name: str, model: ZooModel | None) -> list[tuple[str, Feeds]]:
    if name == "minilm":
        return [(f"minilm, {tokens} tokens", _tokens(tokens)) for tokens in TOKENS]
    return [(name, example_feeds(name, seed=0) if model is None else model.feeds(1)[0])]


def _tokens(count: int) -> Feeds:
    ids = np.random.default_rng(0).integers(1000, 20000, (1, count))
    return {"input_ids": ids.astype(np.int64), "attention_mask": np.ones((1, count), np.int64)}


def _quality(model: ZooModel, made: Path) -> Row:
    original = model.original()
    before, after = model.evaluate(original, original=original), model.evaluate(open_session(made), original=original)
    lost = model.loss(before, after)
    row: Row = {"metric": model.primary, "before": round(before.metrics.get(model.primary, 1.0), 4)}
    row |= {"after": round(after.metrics[model.primary], 4), "lost": None if lost is None else round(lost, 2)}
    if "cosine" in after.metrics:
        row["cosine"] = round(after.metrics["cosine"], 4)
    return row


def _random_quality(name: str, source: Path, made: Path) -> Row:
    """How far outputs are off, of a model that was not trained; inputs that calibration has not seen."""
    before, after = open_session(source), open_session(made)
    off = whole = 0.0
    same: list[bool] = []
    for seed in range(100, 108):
        feeds = example_feeds(name, seed=seed)
        expected, found = next(iter(before(feeds).values())), next(iter(after(feeds).values()))
        off += float(np.square(found - expected).sum())
        whole += float(np.square(expected - expected.mean()).sum())
        same.extend((expected.argmax(-1) == found.argmax(-1)).reshape(-1).tolist())
    row: Row = {"error": round((off / whole) ** 0.5, 4)}
    return row | ({"agreement": round(float(np.mean(same)), 4)} if name == "resnet50" else {})


def _structure(one: Shrunk, seconds: float) -> Iterable[Row]:
    model = zoo[one.name]
    source = model.onnx()
    training = _training(one, model)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "small.onnx"
        started = time.perf_counter()
        result = nw.compile(source, one.pipeline, calibration=model.feeds(32, batch=4), training=training, latency=False, threads=1)
        result.save(made)
        took = time.perf_counter() - started
        quality = _quality(model, made)
        for label, feeds in _timed_on(one.name, model):
            times = best_ms({"float": source, "small": made}, feeds, seconds)
            yield {
                "model": label,
                "pipeline": one.pipeline,
                "float ms": round(times["float"], 3),
                "ms": round(times["small"], 3),
                "speed-up": round(times["float"] / times["small"], 2),
                "size": round(made.stat().st_size / source.stat().st_size, 3),
                **quality,
                "seconds": round(took),
            }


def _training(one: Shrunk, model: ZooModel) -> Sequence[Feeds]:
    """Batches that are not scored."""
    if one.name in RECIPES:
        recipe = RECIPES[one.name]
        return list(islice(replace(recipe, steps=one.steps, batch=one.batch).batches(0, labelled=False), one.steps))
    return model.feeds(one.steps, batch=one.batch, seed=1)


if __name__ == "__main__":
    main()
