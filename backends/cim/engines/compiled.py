"""The machine code, where numba is installed, and what the machine can do."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias, cast

from netwright.ir.errors import MissingExtraError

Engine: TypeAlias = Literal["auto", "numba", "numpy"]
_Kernel: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Kernels:
    """The loops of `kernels`, compiled when first called."""

    pack: _Kernel
    product: _Kernel
    histogram: _Kernel
    enabled_rows: _Kernel
    enabled_groups: _Kernel
    driven_bits: _Kernel
    driven_digits: _Kernel


@dataclass(frozen=True, slots=True)
class Machine:
    """How products run here.

    Attributes:
        engine: `numba` or `numpy`.
        lanes: what counts bits: `AVX-512 popcount`, `machine code without AVX-512 popcount`, or `float products`.
        note: why it is slower than it could be, and what to do about it; empty where it is not.
    """

    engine: str
    lanes: str
    note: str


def kernels_of(engine: Engine) -> Kernels | None:
    """The kernels of an engine; None for numpy, and for `auto` without numba.

    Raises:
        MissingExtraError: numba was asked for, and is not installed.
    """
    if engine == "numpy":
        return None
    found = _kernels()
    if found is None and engine == "numba":
        raise MissingExtraError("numba is not installed.", place="engine", remedy="pip install 'netwright[cim]', or engine='numpy'.")
    return found


def describe(engine: Engine = "auto") -> Machine:
    """How products run on this machine."""
    if kernels_of(engine) is None:
        note = (
            ""
            if engine == "numpy"
            else "numba is not installed: conversions are computed by float products, some 20 times slower; pip install 'netwright[cim]'."
        )
        return Machine("numpy", "float products", note)
    features = _features()
    if features.get("avx512vpopcntdq") and features.get("avx512bitalg"):
        return Machine("numba", "AVX-512 popcount", "")
    return Machine(
        "numba",
        "machine code without AVX-512 popcount",
        "This processor counts no bits in AVX-512 lanes: conversions take some 2 to 8 times longer.",
    )


@cache
def _kernels() -> Kernels | None:
    if importlib.util.find_spec("numba") is None:
        return None
    loops = importlib.import_module("netwright.backends.cim.engines.kernels")
    return Kernels(*(getattr(loops, name) for name in Kernels.__slots__))


def _features() -> dict[str, bool]:
    """The processor's instructions, by LLVM's names."""
    return cast("dict[str, bool]", importlib.import_module("llvmlite.binding").get_host_cpu_features())
