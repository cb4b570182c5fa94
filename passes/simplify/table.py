"""The rules that `simplify` runs, by family: to add a rule is to add it to its module's `RULES`."""

from __future__ import annotations

from netwright.passes.rules import Rule
from netwright.passes.simplify import (
    attention_guard,
    bias_folding,
    casts,
    concats,
    constants,
    fold,
    fuse_activations,
    fuse_attention,
    fuse_gelu,
    fuse_layernorm,
    fuse_rms,
    fuse_rotary,
    identities,
    inline,
    masks,
    neutral,
    norm_folding,
    pads,
    scalars,
    scale_folding,
    shape_arithmetic,
    slices,
    transposes,
    views,
)

LOCAL_RULES: tuple[Rule, ...] = (
    *constants.RULES,
    *inline.RULES,
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
    *attention_guard.RULES,
    *fuse_layernorm.RULES,
    *fuse_rms.RULES,
    *fuse_gelu.RULES,
    *fuse_activations.RULES,
    *fuse_rotary.RULES,
    *fuse_attention.RULES,
    *norm_folding.RULES,
    *bias_folding.RULES,
    *scale_folding.RULES,
    *scalars.RULES,
)
"""Tried in this order at each node; cheap ones first, fusions last."""
