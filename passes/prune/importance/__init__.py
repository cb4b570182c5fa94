"""How much the units of coupling groups matter."""

from netwright.passes.prune.importance.criteria import CRITERIA, Criterion, criterion_needs
from netwright.passes.prune.importance.evidence import Evidence
from netwright.passes.prune.importance.score import Importance, importance, normalised, scores

__all__ = ["CRITERIA", "Criterion", "Evidence", "Importance", "criterion_needs", "importance", "normalised", "scores"]
