"""Running a program on data, and summing up what its operators see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from netwright.passes.statistics.feeds import Repeated
from netwright.passes.statistics.seen import Seen
from netwright.passes.statistics.views import View

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Executor, Feeds

MOST_ROWS = 1 << 16
"""Rows of each operator that are summed up, drawn evenly from all batches."""


def observe(program: Program, views: Sequence[View], batches: Iterable[Feeds], executor: Executor, *, seed: int) -> dict[View, Seen]:
    """Sums over what each view sees. Goes through the data once to count batches and once to run them.

    Args:
        program: left as it is.
        views: distinct ones.
        batches: inputs by name.
        executor: runs the program.
        seed: of the draw of rows.

    Raises:
        DataError: the data holds no batch.
    """
    data = Repeated(program, batches)
    found = {view: Seen() for view in views}
    wanted = list(dict.fromkeys(name for view in views for name in view.wanted))
    most = -(-MOST_ROWS // max(1, len(data)))
    for index, feeds in enumerate(data):
        values = executor.run(program, feeds, wanted)
        for view, seen in found.items():
            view.count(values, seen, most, [seed, index])
    return found
