"""Carrying proposals out on a program of one's own, without a manager: candidates that a pass tries before it decides."""

from __future__ import annotations

from netwright.ir.editor import Editor
from netwright.ir.ledger import Action
from netwright.ir.program import Program
from netwright.passes.base import Proposals
from netwright.passes.rewrite import Applied, Rewrite


def apply_all(program: Program, proposals: Proposals) -> None:
    """Apply every rewrite as it is proposed; misses are passed over. Nothing is numbered, and the ledger stays as it is.

    Args:
        program: changed; a clone of what the pass works on.
        proposals: of a pass, for this program; told of each rewrite that it was applied.
    """
    answer: Applied | None = None
    while True:
        try:
            proposal = proposals.send(answer)
        except StopIteration:
            return
        answer = None
        if isinstance(proposal, Rewrite):
            with Editor(program, at=proposal.anchor) as editor:
                proposal.change(editor)
            action = Action("", 0, proposal.rule or "", proposal.site, 0, proposal.why, dict(editor.maps))
            answer = Applied(action, tuple(editor.touched))
