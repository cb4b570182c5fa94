"""The interface of instruments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netwright.ir.ledger import Action
    from netwright.ir.program import Program
    from netwright.passes.base import Pass
    from netwright.passes.manager import PassRow


class Instrument:
    """Is told of every step of a run; each method does nothing unless overridden, and none may change the program."""

    def begin(self, program: Program, passes: Sequence[Pass]) -> None:
        """The run starts."""

    def before_pass(self, program: Program, index: int, current: Pass) -> None:
        """A pass is about to run."""

    def after_action(self, program: Program, action: Action) -> None:
        """A rewrite was applied."""

    def after_pass(self, program: Program, index: int, current: Pass, row: PassRow) -> None:
        """A pass has run, and the program verified; the row may be added to."""

    def end(self, program: Program) -> None:
        """The run is over."""
