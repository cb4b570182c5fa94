"""Decompositions of operators: numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from netwright.passes.factorize.structures.base import Decomposition, Ranks
from netwright.passes.factorize.structures.cp import CP
from netwright.passes.factorize.structures.expanded import Expanded
from netwright.passes.factorize.structures.kronecker import Kronecker
from netwright.passes.factorize.structures.low_rank import LowRank
from netwright.passes.factorize.structures.low_rank3 import LowRank3
from netwright.passes.factorize.structures.product import product
from netwright.passes.factorize.structures.spatial import Spatial
from netwright.passes.factorize.structures.spectral import rescaled
from netwright.passes.factorize.structures.tt import TT
from netwright.passes.factorize.structures.tucker2 import Tucker2

STRUCTURES: Mapping[str, type[Decomposition]] = MappingProxyType(
    {each.structure: each for each in (LowRank, LowRank3, Tucker2, Spatial, CP, TT, Kronecker, Expanded)}
)
"""Every decomposition by its name."""

__all__ = ["STRUCTURES", "Decomposition", "Ranks", "product", "rescaled"]
