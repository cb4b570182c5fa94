"""ResNet-18 for 224×224 pruned by half: parameters, multiply-accumulates, and what of the latter arrives as latency.

    python -m benchmarks.prune_resnet18 [--rounds 60] [--check]

Latency on ONNX Runtime with one thread, batch 1: the original and the pruned model in turns, best of many. The target is half of all
channels gone, at most 0.487 GMACs and 3.06 M parameters left, and a ratio of latencies at most 10 % above that of multiply-accumulates; the
result is the masked original's (checked at two batch sizes).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import netwright as nw
from benchmarks._coverage_models import RESNET18
from benchmarks._forms import FORMS, program_of
from benchmarks._pruning import TOLERANCE, prune
from benchmarks.table import Row, report
from netwright.backends.onnxruntime import lower, measure
from netwright.ir.cost import cost

PIPELINES = {"original": "simplify", "pruned by half": "simplify, prune(ratio=0.5)"}
MOST_GMACS, MOST_PARAMS, WITHIN = 0.487, 3.06e6, 0.10


def main() -> None:
    """Prune the module's trace and both exports, print sizes and latencies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="turns of the latency measurement (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    options = parser.parse_args()
    rows: list[Row] = []
    missed: list[str] = []
    for form in FORMS:
        program = program_of(RESNET18, form)
        with tempfile.TemporaryDirectory() as folder:
            checked = prune(program, [RESNET18.feeds(batch=1), RESNET18.feeds(batch=2)], Path(folder))
        missed.extend(f"{form}: {failure}" for failure in checked.failures)
        made = {label: nw.compile(program, text, check=False, latency=False, threads=1).program for label, text in PIPELINES.items()}
        timed = measure([lower(one, threads=1) for one in made.values()], RESNET18.feeds(batch=1), rounds=options.rounds, seconds=None)
        totals = [one.fact(cost).totals({"batch": 1}) for one in made.values()]
        for label, total, latency in zip(made, totals, timed, strict=True):
            share = (total.macs or 0) / (totals[0].macs or 1)
            left = latency.best_ms / timed[0].best_ms
            rows.append(
                {
                    "form": form,
                    "version": label,
                    "M params": round(total.params / 1e6, 3),
                    "GMACs": round((total.macs or 0) / 1e9, 4),
                    "MACs left": round(share, 3),
                    "ms": round(latency.best_ms, 2),
                    "ms left": round(left, 3),
                    "ms / MACs": round(left / share, 3),
                    "difference from masked": checked.difference if label != "original" else None,
                }
            )
        last = rows[-1]
        targets = {
            f"{last['GMACs']} GMACs": float(str(last["GMACs"])) <= MOST_GMACS,
            f"{last['M params']} M parameters": totals[-1].params <= MOST_PARAMS,
            f"latency / MACs = {last['ms / MACs']}": float(str(last["ms / MACs"])) <= 1 + WITHIN,
            f"difference {checked.difference:.1e}": checked.difference <= TOLERANCE,
        }
        missed.extend(f"{form}: {text}" for text, met in targets.items() if not met)
    report("ResNet-18, 224×224, one thread", rows)
    for line in missed:
        print(f"missed: {line}")
    if options.check and missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
