"""Weights made ready for products: the choice of the engine."""

from __future__ import annotations

import numpy as np

from netwright.backends.cim.coding import checks
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.engines.base import Prepared
from netwright.backends.cim.engines.compiled import Engine, kernels_of
from netwright.backends.cim.engines.product import Counting, Product


def prepare(
    w: np.ndarray,
    coding: Coding,
    *,
    first_block: int = 0,
    first_column: int = 0,
    threads: int = 1,
    engine: Engine = "auto",
    counts: Counting = "fast",
) -> Prepared:
    """Weights [K, J] made ready for products on crossbars.

    Args:
        w: integers that fit the coding's weights.
        coding: how products are computed.
        first_block: number of the first block of rows within its matrix; noise depends on it.
        first_column: number of the first output within its matrix; noise depends on it.
        threads: threads of a product; values do not depend on them.
        engine: `numba`, `numpy`, or what there is.
        counts: `exact`, or `fast`: charge, saturated and inexact conversions are measured on some vectors and scaled.

    Raises:
        UnsupportedModelError: the coding is none.
        RunError: a weight does not fit its bits.
        MissingExtraError: numba was asked for, and is not installed.
    """
    checks.check(coding)
    checks.check_weights(w, coding)
    return Product(w, coding, first_block, first_column, threads, counts, kernels_of(engine))
