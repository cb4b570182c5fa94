"""Prints what a benchmark measured: an aligned table for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

Cell = str | int | float | bool | None
Row = dict[str, Cell]


def text(rows: Sequence[Row], columns: Iterable[str] | None = None) -> str:
    """The rows as a table: numbers to the right, words to the left, absent cells as a dash.

    Args:
        rows: one dictionary a row.
        columns: which columns, in order; default all, in the order in which they first appear.
    """
    names = list(columns) if columns is not None else list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[place]) for line in cells), 0) for place, name in enumerate(names)]
    right = [all(isinstance(row.get(name), (int, float, type(None))) for row in rows) for name in names]
    lines = [names, ["-" * width for width in widths], *cells]
    return "\n".join("  ".join(_padded(*part) for part in zip(line, widths, right, strict=True)).rstrip() for line in lines)


def report(title: str, rows: Sequence[Row], *, path: Path | None = None, columns: Iterable[str] | None = None) -> None:
    """Print a titled table and, where a path is given, write `{"title", "rows"}` there as JSON."""
    print(f"\n{title}\n\n{text(rows, columns)}\n", flush=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"title": title, "rows": list(rows)}, indent=1) + "\n", encoding="utf8")


def _cell(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value


def _padded(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)
