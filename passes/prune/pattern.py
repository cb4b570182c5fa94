"""Patterns of zeros: N of M."""

from __future__ import annotations

from netwright.ir.errors import PipelineError


def read_pattern(pattern: str) -> tuple[int, int]:
    """`'2:4'` as (2, 4): of 4 weights in a row, 2 at most are not zero.

    Raises:
        PipelineError: text of another form.
    """
    kept, colon, among = str(pattern).partition(":")
    if colon and kept.isdecimal() and among.isdecimal() and 0 < int(kept) < int(among):
        return int(kept), int(among)
    raise PipelineError(
        f"The pattern is {pattern!r}, which is not of the form N:M.", place="prune", remedy="Write '2:4': of 4 weights in a row, 2 stay."
    )
