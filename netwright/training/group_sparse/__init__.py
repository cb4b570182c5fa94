"""Pruning of whole units while training, over the coupling groups of a program: HSPG, DHSPG, HESSO and the proximal group lasso.

Each zeroes as many units (channels, heads, hidden units) as asked for, exactly; `prune(threshold=0)` then removes them, and the outputs
stay what they were. `nw.train(program, …, optimizer="dhspg", sparsity=0.7)` is all a run needs. For a loop of your own,
`index_units` numbers the units of coupling groups, and the optimizers take it beside the parameters.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netwright.training.group_sparse.building import Prunable as Prunable
    from netwright.training.group_sparse.building import group_sparse_optimizer as group_sparse_optimizer
    from netwright.training.group_sparse.building import prunable as prunable
    from netwright.training.group_sparse.building import trained_weights as trained_weights
    from netwright.training.group_sparse.group_lasso import ProximalGroupLasso as ProximalGroupLasso
    from netwright.training.group_sparse.half_space import DHSPG as DHSPG
    from netwright.training.group_sparse.half_space import HSPG as HSPG
    from netwright.training.group_sparse.hesso import HESSO as HESSO
    from netwright.training.group_sparse.optimizer import GroupSparse as GroupSparse
    from netwright.training.group_sparse.report import ZeroUnits as ZeroUnits
    from netwright.training.group_sparse.report import zero_units as zero_units
    from netwright.training.group_sparse.settings import DhspgSettings as DhspgSettings
    from netwright.training.group_sparse.settings import GroupLassoSettings as GroupLassoSettings
    from netwright.training.group_sparse.settings import GroupSparseSettings as GroupSparseSettings
    from netwright.training.group_sparse.settings import HessoSettings as HessoSettings
    from netwright.training.group_sparse.settings import HspgSettings as HspgSettings
    from netwright.training.group_sparse.units import Units as Units
    from netwright.training.group_sparse.units import index_units as index_units

_HOMES = {
    "DHSPG": "half_space",
    "HESSO": "hesso",
    "HSPG": "half_space",
    "DhspgSettings": "settings",
    "GroupLassoSettings": "settings",
    "GroupSparse": "optimizer",
    "GroupSparseSettings": "settings",
    "HessoSettings": "settings",
    "HspgSettings": "settings",
    "Prunable": "building",
    "ProximalGroupLasso": "group_lasso",
    "Units": "units",
    "ZeroUnits": "report",
    "group_sparse_optimizer": "building",
    "index_units": "units",
    "prunable": "building",
    "trained_weights": "building",
    "zero_units": "report",
}
"""Where each public name lives; torch is loaded with what needs it only."""

__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
