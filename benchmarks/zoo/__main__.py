"""Score models of the zoo: `python -m benchmarks.zoo [NAME …] [--model FILE] [--quick] [--threads N] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.zoo import Scores, ZooModel, open_session, zoo
from netwright.ir.errors import NetwrightError


def main() -> int:
    """Score the original of each model and, where a file is given, that file beside it."""
    arguments = parsed()
    console = Console(stderr=arguments.json)
    failed = False
    for name in arguments.names or zoo:
        try:
            rows = scored(zoo[name], arguments.model, arguments.threads, quick=arguments.quick)
        except NetwrightError as error:
            failed = True
            print(json.dumps({"name": name, "error": error.to_dict()})) if arguments.json else console.print(
                f"{name}: {error}", markup=False
            )
            continue
        print(json.dumps({"name": name, "primary": zoo[name].primary, "models": rows})) if arguments.json else console.print(
            table(zoo[name], rows)
        )
    return int(failed)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description="Score real trained models on real data.")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*zoo, []], help=f"any of {', '.join(zoo)}; all when none is given")
    parser.add_argument("--model", type=Path, help="score this .onnx file beside the original; NAME says which data and metrics")
    parser.add_argument("--quick", action="store_true", help="use a part of the data")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object a model")
    arguments = parser.parse_args()
    if arguments.model and len(arguments.names) != 1:
        parser.error("--model needs one NAME")
    return arguments


Row = dict[str, str | int | float | dict[str, float] | dict[str, str]]


def scored(model: ZooModel, other: Path | None, threads: int, *, quick: bool) -> list[Row]:
    """One row for the original and one for `other`, where it is given."""
    original = model.original(threads)
    rows: list[Row] = []
    for path in [model.onnx(), *([other] if other else [])]:
        run = original if path != other else open_session(path, threads)
        started = time.perf_counter()
        scores: Scores = model.evaluate(run, quick=quick, original=original)
        seconds = round(time.perf_counter() - started, 1)
        rows.append({"model": path.name, "bytes": path.stat().st_size, "seconds": seconds, **scores.to_dict()})
    return rows


def table(model: ZooModel, rows: list[Row]) -> Table:
    """Metrics down, models across; the primary metric is marked."""
    result = Table("metric", *(str(row["model"]) for row in rows), title=f"{model.name}: {model.about}", title_justify="left")
    result.add_row("bytes", *(f"{row['bytes']:,}" for row in rows))
    metrics = [row["metrics"] for row in rows]
    for name in metrics[0] if isinstance(metrics[0], dict) else ():
        label = f"{name} (primary)" if name == model.primary else name
        result.add_row(label, *(str(values.get(name, "-")) if isinstance(values, dict) else "-" for values in metrics))
    skipped = rows[0]["skipped"]
    for name, reason in skipped.items() if isinstance(skipped, dict) else ():
        result.add_row(name, f"skipped: {reason}")
    return result


if __name__ == "__main__":
    sys.exit(main())
