"""The pass interface, manager, pipeline text and instruments; one folder per family of passes."""

from netwright.passes.base import Pass, PlannedPass, RewritePass
from netwright.passes.context import Context
from netwright.passes.manager import Outcome, PassRow, run
from netwright.passes.numerics import Close, Exact, Lossy, Numerics
from netwright.passes.pipeline import Pipeline
from netwright.passes.plan import Plan
from netwright.passes.registry import pass_class, pass_names
from netwright.passes.rewrite import Applied, Miss, Rewrite

__all__ = [
    "Applied",
    "Close",
    "Context",
    "Exact",
    "Lossy",
    "Miss",
    "Numerics",
    "Outcome",
    "Pass",
    "PassRow",
    "Pipeline",
    "Plan",
    "PlannedPass",
    "Rewrite",
    "RewritePass",
    "pass_class",
    "pass_names",
    "run",
]
