"""tensorly's alternating least squares, typed, and imported only where it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np

from netwright.ir.errors import MissingExtraError


class _CP(Protocol):
    """tensorly's CPTensor."""

    factors: list[np.ndarray]


class _Parafac(Protocol):
    """tensorly's `parafac`, as far as it is used."""

    def __call__(self, tensor: np.ndarray, rank: int, *, n_iter_max: int, init: object, tol: float, l2_reg: float) -> _CP: ...


class _MakeCP(Protocol):
    """tensorly's constructor of a CPTensor."""

    def __call__(self, parts: tuple[np.ndarray, list[np.ndarray]]) -> object: ...


def parafac(tensor: np.ndarray, start: Sequence[np.ndarray], sweeps: int, ridge: float, tolerance: float) -> list[np.ndarray]:
    """Factors [size, rank] of each axis whose sum of outer products comes near a tensor.

    Args:
        tensor: of any number of axes.
        start: factors to begin with.
        sweeps: at most.
        ridge: on the factors' squared norms, which keeps components from growing against each other.
        tolerance: the relative error's decrease at which to stop.

    Raises:
        MissingExtraError: tensorly is not installed.
    """
    if importlib.util.find_spec("tensorly") is None:
        remedy = 'Run pip install "netwright[factorize]".'
        raise MissingExtraError("The decomposition cp needs the package 'tensorly'.", place="factorize", remedy=remedy)
    solve = cast(_Parafac, importlib.import_module("tensorly.decomposition").parafac)
    make = cast(_MakeCP, importlib.import_module("tensorly.cp_tensor").CPTensor)
    rank = int(start[0].shape[1])
    weights: np.ndarray = np.ones(rank)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = solve(tensor, rank, n_iter_max=sweeps, init=make((weights, list(start))), tol=tolerance, l2_reg=ridge)
    return list(found.factors)
