"""Factorizing together with pruning and quantizing: is what comes out valid, does its size multiply, what does it score?

    python -m benchmarks.factorize_composition [--check]

One model for each order: a sentence encoder, a ResNet, a speaker encoder of LSTMs. `alone` are the passes by themselves; `product` is what
their sizes multiply to, and `together` what the pipeline's file has. Every stage is held against the original on sample inputs
(`nw.compile(check=True)`), the result scored by ONNX Runtime on the model's data.

With `--check`, exits with 1 where a file is over a tenth larger than the product of its parts.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import Feeds, Scores, ZooModel, open_session, zoo
from netwright.ir.program import Program

PIPELINES = {
    "minilm": ("factorize(ratio=0.3)", "quantize"),
    "train_small_resnet": ("prune(ratio=0.25)", "factorize(method='auto', ratio=0.3)"),
    "resemblyzer": ("factorize(ratio=0.3)", "prune(scope='hidden', ratio=0.125)", "quantize(scheme='dynamic')"),
}
"""Passes by model, in order."""


def main() -> None:
    """Compile, save, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(PIPELINES), help=f"of {', '.join(PIPELINES)}")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    rows: list[Row] = []
    missed: list[str] = []
    for name in options.models:
        model, texts = zoo[name], PIPELINES[name]
        calibration = model.feeds(8, batch=8, seed=1)
        original = nw.compile(model.onnx(), "simplify", latency=False).program
        whole, before = _saved(model, original)
        alone = [_saved(model, _compiled(original, text, calibration))[0] / whole for text in texts]
        together, after = _saved(model, _compiled(original, ", ".join(texts), calibration))
        product = math.prod(alone)
        rows.append(
            {
                "model": name,
                "passes": ", ".join(texts),
                "alone": " · ".join(f"{share:.3f}" for share in alone),
                "product": round(product, 3),
                "together": round(together / whole, 3),
                "metric": model.primary,
                "before": round(before.metrics[model.primary], 4),
                "after": round(after.metrics[model.primary], 4),
            }
        )
        if together / whole > 1.1 * product:
            missed.append(f"{name}: {together / whole:.3f} of the bytes, the parts multiply to {product:.3f}")
    report("bytes of saved files, as shares of the original's", rows)
    for line in missed:
        print(f"missed: {line}")
    if options.check and missed:
        raise SystemExit(1)


def _compiled(original: Program, text: str, calibration: list[Feeds]) -> Program:
    return nw.compile(original, text, calibration=calibration, check=True, latency=False).program


def _saved(model: ZooModel, program: Program) -> tuple[int, Scores]:
    """Bytes of the file, and what it scores."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        nw.save(program, path)
        return path.stat().st_size, model.evaluate(open_session(path), quick=True)


if __name__ == "__main__":
    main()
