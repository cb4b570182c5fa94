"""What runs the codec's loops: machine code by numba (the extra `netwright[codec]`), or numpy."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias, cast

import numpy as np

from netwright.codec import loops, vectors
from netwright.ir.errors import MissingExtraError

Engine: TypeAlias = Literal["auto", "numba", "numpy"]
_Loop: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray], int]


@dataclass(frozen=True, slots=True)
class Loops:
    """The two loops; see `loops`."""

    write_codes: _Loop
    read_codes: _Loop


def loops_of(engine: Engine) -> Loops:
    """The loops of an engine; `auto` takes numba where it is installed.

    Raises:
        MissingExtraError: numba was asked for, and is not installed.
    """
    if engine == "numpy":
        return _NUMPY
    compiled = _compiled()
    if compiled is None and engine == "numba":
        raise MissingExtraError("numba is not installed.", place="engine", remedy="pip install 'netwright[codec]', or engine='numpy'.")
    return compiled or _NUMPY


_NUMPY = Loops(vectors.write_codes, vectors.read_codes)


@cache
def _compiled() -> Loops | None:
    """The loops as machine code, compiled when first called; None without numba."""
    try:
        njit = cast("Callable[..., Callable[[_Loop], _Loop]]", importlib.import_module("numba").njit)
    except ImportError:
        return None
    compile_ = njit(cache=True, nogil=True)
    return Loops(compile_(loops.write_codes), compile_(loops.read_codes))
