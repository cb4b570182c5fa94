"""Pruning while training: an optimizer that sees weights and gradients only, and zeroes as many as a cumulative penalty allows.

`SparseOptimizer` is the torch form, `SparseDescent` the one on plain arrays; `SparseSettings` are the options of both.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netwright.training.sparse.optimizer import SparseOptimizer as SparseOptimizer
    from netwright.training.sparse.settings import SparseSettings as SparseSettings
    from netwright.training.sparse.vector import SparseDescent as SparseDescent

_HOMES = {"SparseDescent": "vector", "SparseOptimizer": "optimizer", "SparseSettings": "settings"}
"""Where each public name lives; torch is loaded with `SparseOptimizer` only."""

__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
