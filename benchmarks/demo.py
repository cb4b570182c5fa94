"""The main job on a real model: a trained sentence encoder in, a smaller and faster one out, scored before and after.

    python -m benchmarks.demo [--model NAME] [--pipeline TEXT] [--out FOLDER]

Writes the small `.onnx` and the report (HTML and JSON) to the folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

import netwright as nw
from benchmarks.zoo import Scores, zoo
from netwright.ir.files import write_text
from netwright.report import human_bytes

PIPELINE = "simplify(opset=20), quantize(recipe='balanced')"
SAMPLES, ROWS = 32, 4
"""Calibration data: so many batches of so many rows, none of which is scored."""


def main() -> None:
    """Compile one model of the zoo and score it before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(zoo), default="minilm")
    parser.add_argument("--pipeline", default=PIPELINE)
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    options = parser.parse_args()
    console = Console(width=110, highlight=False)

    model = zoo[options.model]
    console.print(f"{model.name}: {model.about}\npipeline: {options.pipeline}\n", markup=False)
    source = model.onnx()
    feeds = model.feeds(1)[0]
    calibration = model.feeds(SAMPLES, batch=ROWS, seed=1)
    result = nw.compile(source, options.pipeline, calibration=calibration, check=[feeds], threads=1)
    original = model.original()
    before = model.evaluate(original, original=original)
    after = model.evaluate(result.run, original=original)

    options.out.mkdir(parents=True, exist_ok=True)
    small = options.out / f"{model.name}.small.onnx"
    result.save(small)
    write_text(options.out / "report.html", result.report.html())
    write_text(options.out / "report.json", json.dumps({**result.report.to_dict(), "scores": _scores(before, after)}, indent=2) + "\n")

    console.print(result.report)
    console.print(_score_table(model.primary, before, after))
    written = f"{small} ({human_bytes(small.stat().st_size)}), report.html and report.json beside it"
    console.print(f"\nwrote {written}", markup=False)


def _scores(before: Scores, after: Scores) -> dict[str, object]:
    return {"before": before.to_dict(), "after": after.to_dict()}


def _score_table(primary: str, before: Scores, after: Scores) -> Table:
    table = Table("metric on real data", "before", "after", title="Quality", title_justify="left")
    for name, value in before.metrics.items():
        table.add_row(name + (" (primary)" if name == primary else ""), f"{value:.4f}", f"{after.metrics[name]:.4f}")
    for name, reason in before.skipped.items():
        table.add_row(name, "skipped", reason)
    return table


if __name__ == "__main__":
    main()
