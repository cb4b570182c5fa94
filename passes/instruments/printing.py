"""Dumps of the graph before and after passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from netwright.ir.dump import dump
from netwright.passes.instruments.base import Instrument

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.base import Pass
    from netwright.passes.manager import PassRow


class PrintStages(Instrument):
    """Writes the graph's dump before or after chosen passes.

    Args:
        sink: takes the text.
        before: a pass's name, `"all"`, or empty.
        after: a pass's name, `"all"`, `"changed"` (after passes that changed something), or empty.
    """

    def __init__(self, sink: Callable[[str], object], *, before: str = "", after: str = "") -> None:
        self._sink = sink
        self._before = before
        self._after = after

    def before_pass(self, program: Program, index: int, current: Pass) -> None:
        """Dump where asked for."""
        if self._before in ("all", current.name):
            self._sink(f"--- before {index}:{current}\n{dump(program)}")

    def after_pass(self, program: Program, index: int, current: Pass, row: PassRow) -> None:
        """Dump where asked for."""
        if self._after in ("all", current.name) or (self._after == "changed" and row.actions):
            self._sink(f"--- after {index}:{current}\n{dump(program)}")
