"""Operators to decompose, of every kind, with what may be known of their inputs."""

from __future__ import annotations

from typing import Literal

import numpy as np

from netwright.passes.factorize.operator import Kind, Operator

Known = Literal["none", "scales", "second", "channels"]

SHAPES: dict[str, tuple[Kind, tuple[int, ...], int]] = {
    "wide": ("linear", (12, 20), 1),
    "tall": ("linear", (20, 12), 1),
    "odd": ("linear", (9, 15), 1),
    "large": ("linear", (32, 36), 1),
    "table": ("table", (6, 31), 1),
    "gates": ("recurrent", (24, 10), 1),
    "state": ("state", (24, 6), 2),
    "conv": ("conv", (7, 5, 3, 3), 1),
    "conv_uneven": ("conv", (4, 6, 3, 2), 1),
    "conv_rows": ("conv", (6, 4, 3, 1), 1),
    "conv_1x1": ("conv", (8, 6, 1, 1), 1),
    "conv_1d": ("conv", (6, 5, 4), 1),
    "conv_groups": ("conv", (8, 3, 3, 3), 2),
    "deconv": ("deconv", (6, 5, 2, 2), 1),
    "deconv_groups": ("deconv", (6, 4, 3, 3), 2),
}


def operator(name: str, known: Known = "none", seed: int = 0) -> Operator:
    """An operator with a random weight, and moments of inputs that are far from white."""
    kind, shape, groups = SHAPES[name]
    generator = np.random.default_rng(seed)
    weight = generator.standard_normal(shape)
    rows = Operator(kind, weight, groups).matrices()
    width = shape[1] if known == "channels" else rows.shape[2]
    if known == "none":
        return Operator(kind, weight, groups)
    if known == "scales":
        return Operator(kind, weight, groups, scales=generator.uniform(0.01, 4, (groups, width)))
    mixing = generator.standard_normal((groups, width, width)) * np.geomspace(3, 0.03, width)
    return Operator(kind, weight, groups, second=mixing @ np.swapaxes(mixing, 1, 2))
