"""Machine code for the simulator's loop, where numba is installed (the extra `netwright[cim]`)."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import cache
from typing import TypeAlias, cast

import numpy as np

from netwright.backends.cim.simulator import loops

Requantizing: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray, np.float32, np.float32, np.float32, np.ndarray], None]


@cache
def requantizing() -> Requantizing | None:
    """`loops.requantize`, compiled when first called; None without numba."""
    if importlib.util.find_spec("numba") is None:
        return None
    njit = cast("Callable[..., Callable[[object], Requantizing]]", importlib.import_module("numba").njit)
    return njit(cache=True, nogil=True)(cast("object", loops.requantize))
