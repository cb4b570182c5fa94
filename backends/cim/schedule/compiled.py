"""The event loop, and machine code for it where numba is installed (the extra `netwright[cim]`)."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import cache
from typing import TypeAlias, cast

from netwright.backends.cim.schedule import loop

Loop: TypeAlias = Callable[..., tuple[float, int, int]]


plainly = cast("Loop", vars(loop)["run"])
"""`loop.run` as it is."""


@cache
def compiled() -> Loop | None:
    """`loop.run`, compiled when first called; None without numba."""
    if importlib.util.find_spec("numba") is None:
        return None
    njit = cast("Callable[..., Callable[[Loop], Loop]]", importlib.import_module("numba").njit)
    return njit(cache=True, nogil=True)(plainly)
