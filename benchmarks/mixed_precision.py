"""Bits by site against the same bits everywhere, at an equal average, on real models: the metric, and the error at the outputs.

    python -m benchmarks.mixed_precision [MODEL …] [--bits 6 4 3] [--rounding nearest] [--quick]

Both rows of a model and average are made by the pass `quantize`: `quantize(scheme='dynamic', bits=4)` and `quantize(scheme='dynamic',
budget={'bits': 4})`, with the same calibration data, which no evaluation uses. `error` is |quantized - float| / |float| of the first output
on inputs that neither has seen; `cosine` and the like are the model's own metrics. Models of convolutions are static.
Below 8 bits weights lie in bytes all the same: what is gained in the file or in time is nothing, on ONNX Runtime. From some average on both
may keep the whole metric; then `error` says which is nearer, down to that of the 8-bit activations.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import ZooModel, open_session, zoo
from netwright.ir.program import Program

MODELS = ("train_small_transformer", "train_small_gpt", "minilm", "train_small_resnet")
_STATIC = ("efficientnet_lite0", "digit_cnn", "crepe_tiny", "train_small_cnn", "train_small_resnet")


def main() -> None:
    """Quantize both ways, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--bits", type=int, nargs="+", default=[6, 4, 3])
    parser.add_argument("--rounding", default="nearest")
    parser.add_argument("--quick", action="store_true", help="score on a part of the evaluation data")
    options = parser.parse_args()
    for name in options.models:
        measure(zoo[name], options)


def measure(model: ZooModel, options: argparse.Namespace) -> None:
    """The table of one model."""
    original = nw.compile(model.onnx(), "simplify", latency=False).program
    unseen = model.feeds(4, batch=4, seed=77)
    goal = _first(original, unseen)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"

        def scored(program: Program) -> dict[str, float]:
            nw.save(program, path)
            return model.evaluate(open_session(path), quick=options.quick).metrics

        whole = scored(original)[model.primary]
        scheme = "static" if model.name in _STATIC else "dynamic"
        for bits in options.bits:
            for text in (f"bits={bits}", f"budget={{'bits': {bits}}}"):
                started = time.perf_counter()
                pipeline = f"quantize(scheme='{scheme}', {text}, rounding='{options.rounding}')"
                result = nw.compile(original, pipeline, calibration=model.feeds(8, batch=4, seed=3), latency=False)
                seconds = time.perf_counter() - started
                found = _first(result.program, unseen)
                metrics = scored(result.program)
                (plan,) = result.plans.values()
                used = sorted({int(str(one["bits"])) for key, one in plan.decisions.items() if "bits" in one and ":" not in key})
                rows.append(
                    {
                        "average": bits,
                        "bits": "by site" if "budget" in text else "alike",
                        "used": " ".join(map(str, used)),
                        "error": float(np.linalg.norm(found - goal) / np.linalg.norm(goal)),
                        model.primary: f"{metrics[model.primary]:.4f}",
                        "cosine": f"{metrics['cosine']:.4f}" if "cosine" in metrics else None,
                        "seconds": round(seconds, 1),
                    }
                )
    report(f"{model.name}: {model.primary} {whole:.4f} in float; {scheme}, weights rounded by {options.rounding}", rows)


def _first(program: Program, feeds: list[dict[str, np.ndarray]]) -> np.ndarray:
    """The first output on all feeds, flattened."""
    from netwright.backends.onnxruntime import OrtExecutor

    executor, name = OrtExecutor(), program.outputs[0].name or ""
    return np.concatenate([executor.run(program, one, [name])[name].reshape(-1) for one in feeds]).astype(np.float64)


if __name__ == "__main__":
    main()
