"""tensorly's alternating least squares, typed, and imported only where it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np

from netwright.ir.errors import MissingExtraError

_CHEAP = 4
"""Sweeps over the large axes alone, after each over all."""


class _CP(Protocol):
    """tensorly's CPTensor."""

    factors: list[np.ndarray]


class _Parafac(Protocol):
    """tensorly's `parafac`, as far as it is used."""

    def __call__(
        self, tensor: np.ndarray, rank: int, *, n_iter_max: int, init: object, tol: float, l2_reg: float, fixed_modes: Sequence[int] | None
    ) -> _CP: ...


class _MakeCP(Protocol):
    """tensorly's constructor of a CPTensor."""

    def __call__(self, parts: tuple[np.ndarray, list[np.ndarray]]) -> object: ...


def parafac(tensor: np.ndarray, start: Sequence[np.ndarray], rounds: int, ridge: float) -> list[np.ndarray]:
    """Factors [size, rank] of each axis whose sum of outer products comes near a tensor.

    The last two axes are the large ones. A round is one sweep over all axes and four over the large ones, which cost less: what the small
    axes are solved from grows with the large ones' product.

    Args:
        tensor: of three or more axes.
        start: factors to begin with.
        rounds: at most; fewer once one lowers the relative error by less than 10⁻³ of it.
        ridge: on the factors' squared norms, which keeps components from growing against each other.

    Raises:
        MissingExtraError: tensorly is not installed.
    """
    if importlib.util.find_spec("tensorly") is None:
        remedy = 'Run pip install "netwright[factorize]".'
        raise MissingExtraError("The decomposition cp needs the package 'tensorly'.", place="factorize", remedy=remedy)
    solve = cast(_Parafac, importlib.import_module("tensorly.decomposition").parafac)
    make = cast(_MakeCP, importlib.import_module("tensorly.cp_tensor").CPTensor)
    weights: np.ndarray = np.ones(int(start[0].shape[1]))
    small = list(range(tensor.ndim - 2))
    best, factors, least = list(start), list(start), np.inf
    for _ in range(rounds):
        for sweeps, fixed in ((1, None), (_CHEAP, small)):
            init = make((weights, factors))
            factors = list(solve(tensor, len(weights), n_iter_max=sweeps, init=init, tol=0, l2_reg=ridge, fixed_modes=fixed).factors)
        error = _distance(tensor, factors)
        if not error < least * (1 - 1e-3):
            break
        best, least = factors, error
    return best


def _distance(tensor: np.ndarray, factors: Sequence[np.ndarray]) -> float:
    """‖T − T̂‖; T̂ from the small axes' products and then the last one."""
    joined = factors[0]
    for factor in factors[1:-1]:
        joined = (joined[..., None, :] * factor).reshape(*joined.shape[:-1], *factor.shape)
    return float(np.linalg.norm(tensor - joined @ factors[-1].T))
