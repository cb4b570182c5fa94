"""Programs from a graph as text and weights by name, some of them random."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netwright.ir import Program
from tests.passes.programs import program_of

Weights = Mapping[str, np.ndarray | tuple[int, ...]]


def program(
    text: str, weights: Weights | None = None, *, opset: int = 20, properties: frozenset[str] = frozenset(), dtype: str = "float32"
) -> Program:
    """A Program whose undefined names are weights: the arrays given, or random ones of the shapes given."""
    rng = np.random.default_rng(len(text))
    made = {
        name: given if isinstance(given, np.ndarray) else rng.normal(size=given).astype(dtype) for name, given in (weights or {}).items()
    }
    name, signature = text.split("(", 1)
    declared = "WEIGHTS" if made else ""
    inputs, rest = signature.split(")", 1)
    between = ", " if inputs.strip() and declared else ""
    found = program_of(f'<ir_version: 10, opset_import: ["" : {opset}]>\n{name}({inputs}{between}{declared}){rest}', made)
    found.properties = properties
    return found
