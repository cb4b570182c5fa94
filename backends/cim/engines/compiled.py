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
    """The loops of `kernels`, `noisy` and `tallies`, compiled when first called."""

    product: _Kernel
    uniform_product: _Kernel
    disturbed_product: _Kernel
    disturbed_tally: _Kernel
    pack: _Kernel
    histogram: _Kernel
    moments: _Kernel
    enabled_rows: _Kernel
    enabled_groups: _Kernel
    driven_bits: _Kernel
    driven_digits: _Kernel
    finish: _Kernel
    centre: _Kernel
    settle: _Kernel


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
        why = "numba is not installed: conversions are computed by float products, some 20 times slower; pip install 'netwright[cim]'."
        return Machine("numpy", "float products", "" if engine == "numpy" else why)
    why = note()
    return Machine("numba", "machine code without AVX-512 popcount" if why else "AVX-512 popcount", why)


def note() -> str:
    """Why machine code takes longer here than it could; empty where it does not."""
    features = _features()
    if features.get("avx512vpopcntdq") and features.get("avx512bitalg"):
        return ""
    return "This processor counts no bits in AVX-512 lanes: conversions take some 4 times longer with AVX2, 13 times without."


@cache
def _kernels() -> Kernels | None:
    if importlib.util.find_spec("numba") is None:
        return None
    loops: dict[str, _Kernel] = {}
    for module in ("kernels", "noisy", "tallies"):
        loops |= vars(importlib.import_module(f"netwright.backends.cim.engines.{module}"))
    return Kernels(*(loops[name] for name in Kernels.__slots__))


@cache
def _features() -> dict[str, bool]:
    """The instructions that numba compiles for, by LLVM's names: the processor's, or fewer where it was told so."""
    target = importlib.import_module("numba.core.registry").cpu_target.target_context
    _, _, features = cast("tuple[str, str, str]", target.codegen().magic_tuple())
    return {one[1:]: one[0] == "+" for one in features.split(",") if one}
