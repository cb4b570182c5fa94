"""The rules that `simplify` runs, by family: to add a rule is to add it to its module's `RULES`."""

from __future__ import annotations

from netwright.passes.rules import Rule
from netwright.passes.simplify import identities

LOCAL_RULES: tuple[Rule, ...] = (*identities.RULES,)
"""Tried in this order at each node; cheap ones first, fusions last."""
