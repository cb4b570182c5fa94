"""How far values are from those of the original: what oracle checks and comparisons go by.

Not a number equals not a number, and infinities of one sign equal each other: a rewrite that keeps them is right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from netwright.passes.numerics import Close, Exact, Numerics

_CHUNK = 1 << 20
"""Elements compared at a time: differences are taken in float64, which would cost large outputs many times their size."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one value is from the reference's.

    Attributes:
        name: the value.
        max_abs: the largest `|actual - reference|`; infinite where they cannot be compared, or only one of two elements is finite.
        rel: `||actual - reference|| / ||reference||` (Frobenius); infinite where only the reference is zero.
        cosine: of the angle between the two as vectors; 1 where both are zero, NaN where either has elements that are not finite.
        scale: `max |reference|` over finite elements.
        nonfinite: how many elements are NaN or infinite, in the reference and in the actual value.
        problem: why the two cannot be compared, where they cannot.
    """

    name: str
    max_abs: float
    rel: float
    cosine: float
    scale: float
    nonfinite: tuple[int, int] = (0, 0)
    problem: str = ""

    def within(self, rtol: float, atol: float) -> bool:
        """True when `|actual - reference| <= atol + rtol * max|reference|` for every element."""
        return self.max_abs <= atol + rtol * self.scale

    def to_dict(self) -> dict[str, object]:
        """The difference as JSON; what is not finite as null, beside the counts that say so."""
        return {
            "name": self.name,
            "max_abs_error": _finite(self.max_abs),
            "rel_error": _finite(self.rel),
            "cosine": _finite(self.cosine),
            "scale": self.scale,
            "nonfinite": list(self.nonfinite),
            "problem": self.problem or None,
        }


@dataclass(frozen=True, slots=True)
class ErrorStats:
    """How far a program's outputs are from the reference's.

    Attributes:
        max_abs: the largest of any output.
        rel: that of the worst output.
        worst_output: the output with the largest relative error; empty where there is no output.
        outputs: each output's.
    """

    max_abs: float
    rel: float
    worst_output: str
    outputs: tuple[Difference, ...] = ()


def errors(reference: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray]) -> ErrorStats:
    """Compare outputs by name; one that only one side has counts as infinitely wrong."""
    differences = [
        difference(name, reference.get(name), actual.get(name))
        for name in (*reference, *(name for name in actual if name not in reference))
    ]
    if not differences:
        return ErrorStats(0.0, 0.0, "")
    worst = max(differences, key=lambda one: (one.rel, one.max_abs))
    return ErrorStats(max(one.max_abs for one in differences), worst.rel, worst.name, tuple(differences))


def within(stats: ErrorStats, numerics: Numerics) -> bool:
    """True when the outputs keep a promise: `Exact` no difference, `Close` its tolerances for each output, `Lossy` anything comparable."""
    if isinstance(numerics, Exact):
        return stats.max_abs == 0.0
    if isinstance(numerics, Close):
        return all(one.within(numerics.rtol, numerics.atol) for one in stats.outputs)
    return not any(one.problem for one in stats.outputs)


def difference(name: str, reference: np.ndarray | None, actual: np.ndarray | None) -> Difference:
    """How far an array is from the reference. Time is linear; memory beyond the arrays is constant."""
    problem = _problem(reference, actual)
    if problem or reference is None or actual is None:
        return Difference(name, math.inf, math.inf, math.nan, 0.0, problem=problem)
    if reference.dtype.kind in "OUS":
        same = bool(_same_objects(reference, actual))
        return Difference(name, 0.0 if same else math.inf, 0.0 if same else math.inf, 1.0 if same else math.nan, 0.0)
    sums = _Sums()
    for old, new in _chunks(reference, actual):
        sums.add(old, new)
    if sums.max_abs == 0.0 and reference.dtype.kind in "iu" and not np.array_equal(reference, actual):
        sums.max_abs = 1.0  # integers beyond 2^53, whose difference float64 does not see
    return sums.result(name)


def _problem(reference: np.ndarray | None, actual: np.ndarray | None) -> str:
    if reference is None or actual is None:
        return "missing from the reference" if reference is None else "missing"
    if reference.shape != actual.shape:
        return f"shape {list(actual.shape)} instead of {list(reference.shape)}"
    if (reference.dtype.kind in "OUS") != (actual.dtype.kind in "OUS"):
        return f"{actual.dtype} instead of {reference.dtype}"
    return ""


def _same_objects(reference: np.ndarray, actual: np.ndarray) -> bool:
    """Strings, and sequences of arrays."""
    pairs = zip(reference.flat, actual.flat, strict=True)
    return all(np.array_equal(np.asarray(old), np.asarray(new)) for old, new in pairs)


def _chunks(reference: np.ndarray, actual: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    old, new = reference.reshape(-1), actual.reshape(-1)
    wide = np.complex128 if reference.dtype.kind == "c" else np.float64
    for start in range(0, old.size, _CHUNK):
        yield old[start : start + _CHUNK].astype(wide), new[start : start + _CHUNK].astype(wide)


@dataclass(slots=True)
class _Sums:
    """What differences are made of, gathered chunk by chunk."""

    max_abs: float = 0.0
    scale: float = 0.0
    squared_difference: float = 0.0
    squared_reference: float = 0.0
    squared_actual: float = 0.0
    product: float = 0.0
    nonfinite_reference: int = 0
    nonfinite_actual: int = 0
    disagree: bool = False

    def add(self, old: np.ndarray, new: np.ndarray) -> None:
        old_finite, new_finite = np.isfinite(old), np.isfinite(new)
        both = old_finite & new_finite
        self.nonfinite_reference += int(old.size - np.count_nonzero(old_finite))
        self.nonfinite_actual += int(new.size - np.count_nonzero(new_finite))
        if not both.all():
            self.disagree |= not np.array_equal(old[~both], new[~both], equal_nan=True)
            old, new = old[both], new[both]
        if old.size == 0:
            return
        gap = np.abs(new - old)
        magnitude = np.abs(old)
        self.max_abs = max(self.max_abs, float(gap.max()))
        self.scale = max(self.scale, float(magnitude.max()))
        self.squared_difference += float(np.vdot(gap, gap))
        self.squared_reference += float(np.vdot(magnitude, magnitude))
        self.squared_actual += float(np.vdot(new, new).real)
        self.product += float(np.vdot(old, new).real)

    def result(self, name: str) -> Difference:
        nonfinite = (self.nonfinite_reference, self.nonfinite_actual)
        cosine = math.nan if any(nonfinite) else self._cosine()
        if self.disagree:
            return Difference(name, math.inf, math.inf, cosine, self.scale, nonfinite)
        return Difference(name, self.max_abs, self._rel(), cosine, self.scale, nonfinite)

    def _rel(self) -> float:
        if self.squared_difference == 0.0:
            return 0.0
        return math.sqrt(self.squared_difference / self.squared_reference) if self.squared_reference else math.inf

    def _cosine(self) -> float:
        norms = math.sqrt(self.squared_reference) * math.sqrt(self.squared_actual)
        if norms == 0.0:
            return 1.0 if self.squared_reference == self.squared_actual else 0.0
        return max(-1.0, min(1.0, self.product / norms))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
