"""Aligned tables for benchmark scripts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence


def print_table(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows under the keys of the first, aligned; numbers to the right.

    Args:
        title: printed above.
        rows: one mapping per row, all with the same keys.
    """
    if not rows:
        sys.stdout.write(f"{title}: no rows\n")
        return
    heads = list(rows[0])
    cells = [[_text(row.get(head, "")) for head in heads] for row in rows]
    widths = [max(len(head), *(len(line[column]) for line in cells)) for column, head in enumerate(heads)]
    numeric = [all(isinstance(row.get(head, ""), int | float) or row.get(head, "") == "" for row in rows) for head in heads]
    lines = [heads, ["-" * width for width in widths], *cells]
    sys.stdout.write(f"{title}\n")
    for line in lines:
        padded = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(line, widths, numeric, strict=True)]
        sys.stdout.write("  ".join(padded).rstrip() + "\n")
    sys.stdout.flush()


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
