"""Deciding which units of which coupling groups go."""

from netwright.passes.prune.planning.amounts import Amounts
from netwright.passes.prune.planning.budget import fit_budget
from netwright.passes.prune.planning.candidates import SCOPES, Candidate, Scope, Survey, survey
from netwright.passes.prune.planning.decisions import decide, read_decisions
from netwright.passes.prune.planning.removal import Removal, summary

__all__ = [
    "SCOPES",
    "Amounts",
    "Candidate",
    "Removal",
    "Scope",
    "Survey",
    "decide",
    "fit_budget",
    "read_decisions",
    "summary",
    "survey",
]
