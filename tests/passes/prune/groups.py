"""Coupling groups made by hand, for tests of planning."""

from __future__ import annotations

import numpy as np

from netwright.ir.coupling import Coupling, Group, Kind, Slice
from netwright.passes.prune.planning import Candidate


def group(
    name: str,
    size: int,
    *,
    kind: Kind = "channels",
    module: str = "",
    weight: str = "",
    frozen: str = "",
    inexact: str = "",
    fixed: tuple[int, ...] = (),
    params: int = 10,
    parts: tuple[tuple[int, ...], ...] = (),
) -> Group:
    """A group of units that each carry `params` parameters and ten times as many multiply-accumulates; those in `fixed` cannot go."""
    removable = np.full(size, not frozen)
    removable[list(fixed)] = False
    slices = (Slice(weight or f"{name}.weight", 0, "out", np.arange(size, dtype=np.int32), (name,)),)
    return Group(
        name=name,
        module=module,
        kind=kind,
        size=size,
        slices=slices,
        values=(),
        frozen=frozen,
        inexact=inexact,
        removable=removable,
        parts=tuple(np.array(part) for part in parts) or (np.arange(size),),
        params=np.full(size, params),
        macs=np.full(size, 10.0 * params),
    )


def candidate(
    name: str,
    size: int,
    *,
    grain: int = 1,
    module: str = "",
    params: int = 10,
    fixed: tuple[int, ...] = (),
    parts: tuple[tuple[int, ...], ...] = (),
) -> Candidate:
    """A group that may lose units."""
    return Candidate(group(name, size, module=module, params=params, fixed=fixed, parts=parts), grain)


def coupling_of(*groups: Group) -> Coupling:
    """All of them."""
    return Coupling(groups)
