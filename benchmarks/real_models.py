"""Real trained models on real data: each imports, simplifies and quantizes, and what that does to its primary metric.

    python -m benchmarks.real_models [--quick] [NAME ...]

For every model of the zoo: the original, after `simplify`, and after `simplify, quantize(scheme='dynamic')`: saved bytes,
nodes, latency (one thread, in turns, best of many) and metric. A point is 0.01 of the metric (0.05 bits for gpt).
Targets: unchanged by `simplify`; within 1 point after dynamic int8; no model slower than the float original.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import netwright as nw
from benchmarks.table import Row, report
from benchmarks.zoo import ZooModel, open_session, zoo
from netwright.backends.onnxruntime import lower, measure

PIPELINES = {"simplify": "simplify", "dynamic int8": "simplify, quantize(scheme='dynamic')"}


def main() -> None:
    """Score every model of the zoo under every pipeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="models; all where left out")
    parser.add_argument("--quick", action="store_true", help="score on a part of the data")
    options = parser.parse_args()
    rows = [row for name in options.names or zoo for row in _rows(zoo[name], quick=options.quick)]
    report("real models", rows)


def _rows(model: ZooModel, *, quick: bool) -> list[Row]:
    original = model.original()
    source = model.onnx()
    before = model.evaluate(original, quick=quick, original=original)
    program = nw.load(source)
    programs = {"original": program}
    for label, pipeline in PIPELINES.items():
        programs[label] = nw.compile(program, pipeline, latency=False, threads=1).program
    feeds = model.feeds(1)[0]
    timed = measure([lower(one, threads=1) for one in programs.values()], feeds)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for (label, one), latency in zip(programs.items(), timed, strict=True):
            path = Path(folder) / f"{len(rows)}.onnx"
            nw.save(one, path)
            scores = before if label == "original" else model.evaluate(open_session(path, 1), quick=quick, original=original)
            lost = model.loss(before, scores)
            rows.append(
                {
                    "model": model.name,
                    "version": label,
                    "MB": round(path.stat().st_size / 1e6, 3),
                    "nodes": sum(1 for _ in one.nodes()),
                    "ms": round(latency.best_ms, 3),
                    "speed-up": round(1 / latency.ratio_to_first, 2),
                    "metric": model.primary,
                    "value": f"{scores.metrics[model.primary]:.4f}" if model.primary in scores.metrics else "skipped",
                    "points lost": "" if lost is None else f"{lost + 0.0:.2f}".replace("-0.00", "0.00"),
                    "cosine": f"{scores.metrics['cosine']:.4f}" if "cosine" in scores.metrics else "",
                }
            )
    return rows


if __name__ == "__main__":
    main()
