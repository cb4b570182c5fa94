"""Score models of the zoo: `python -m benchmarks.zoo [NAME …] [--model FILE] [--quick] [--threads N] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.zoo import Run, Scores, ZooModel, open_session, zoo
from netwright.ir.errors import NetwrightError


@dataclass(frozen=True, slots=True)
class Row:
    """One file's scores."""

    path: Path
    seconds: float
    scores: Scores

    def to_dict(self) -> dict[str, object]:
        """The JSON object `{"path", "bytes", "seconds", "metrics", "skipped"}`."""
        return {"path": str(self.path), "bytes": self.path.stat().st_size, "seconds": round(self.seconds, 1), **self.scores.to_dict()}


def main() -> int:
    """Score the original of each model and, where a file is given, that file beside it."""
    arguments = parse()
    failures = 0
    for name in arguments.names or zoo:
        model = zoo[name]
        try:
            rows = compare(model, arguments.model, arguments.threads, quick=arguments.quick)
        except NetwrightError as error:
            failures += 1
            report_error(name, error, as_json=arguments.json)
            continue
        report(model, rows, as_json=arguments.json)
    return min(failures, 1)


def parse() -> argparse.Namespace:
    """The command line; a wrong one ends the process with a message."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description="Score real trained models on real data.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(zoo)}; all when none is given")
    parser.add_argument("--model", type=Path, help="score this .onnx file beside the original; NAME says which data and metrics")
    parser.add_argument("--quick", action="store_true", help="use a part of the data")
    parser.add_argument("--threads", type=int, default=1, help="threads of ONNX Runtime (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a model")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - zoo.keys():
        parser.error(f"no model named {', '.join(sorted(unknown))}; there are {', '.join(zoo)}")
    if arguments.model and len(arguments.names) != 1:
        parser.error("--model needs one NAME")
    if arguments.model and not arguments.model.is_file():
        parser.error(f"there is no file {arguments.model}")
    return arguments


def compare(model: ZooModel, other: Path | None, threads: int, *, quick: bool) -> list[Row]:
    """A row for the original and one for `other`, where it is given."""
    original = model.original(threads)
    runs: list[tuple[Path, Run]] = [(model.onnx(), original)]
    if other is not None:
        runs.append((other, open_session(other, threads)))
    rows: list[Row] = []
    for path, run in runs:
        started = time.perf_counter()
        scores = model.evaluate(run, quick=quick, original=original)
        rows.append(Row(path, time.perf_counter() - started, scores))
    return rows


def report(model: ZooModel, rows: list[Row], *, as_json: bool) -> None:
    """Print a table, metrics down and files across, or one line of JSON."""
    if as_json:
        print(json.dumps({"name": model.name, "primary": model.primary, "models": [row.to_dict() for row in rows]}))
        return
    table = Table("metric", *(row.path.name for row in rows), title=f"{model.name}: {model.about}", title_justify="left")
    table.add_row("bytes", *(f"{row.path.stat().st_size:,}" for row in rows))
    for name in rows[0].scores.metrics:
        label = f"{name} (primary)" if name == model.primary else name
        table.add_row(label, *(f"{row.scores.metrics[name]:.4f}" for row in rows))
    for name, reason in rows[0].scores.skipped.items():
        table.add_row(name, f"skipped: {reason}")
    if len(rows) > 1 and (points := model.loss(rows[0].scores, rows[1].scores)) is not None:
        table.caption = f"{points:+.2f} points of {model.primary} lost"
    Console().print(table)


def report_error(name: str, error: NetwrightError, *, as_json: bool) -> None:
    """Print why a model could not be scored."""
    if as_json:
        print(json.dumps({"name": name, "error": error.to_dict()}))
    else:
        print(f"{name}: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
