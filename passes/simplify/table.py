"""The rules that `simplify` runs, by family: to add a rule is to add it to its module's `RULES`."""

from __future__ import annotations

from netwright.passes.rules import Rule
from netwright.passes.simplify import (
    casts,
    concats,
    constants,
    fold,
    identities,
    masks,
    neutral,
    pads,
    scalars,
    shape_arithmetic,
    slices,
    transposes,
    views,
)

LOCAL_RULES: tuple[Rule, ...] = (
    *constants.RULES,
    *shape_arithmetic.RULES,
    *identities.RULES,
    *neutral.RULES,
    *fold.RULES,
    *casts.RULES,
    *views.RULES,
    *transposes.RULES,
    *slices.RULES,
    *concats.RULES,
    *pads.RULES,
    *masks.RULES,
    *scalars.RULES,
)
"""Tried in this order at each node; cheap ones first, fusions last."""
