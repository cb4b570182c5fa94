"""What a pass promises of the values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exact:
    """Outputs stay bit-equal."""

    def __str__(self) -> str:
        return "exact"


@dataclass(frozen=True, slots=True)
class Close:
    """Outputs stay within `|new - old| <= atol + rtol * max|old|`, per output tensor."""

    rtol: float = 1e-4
    atol: float = 1e-5

    def __str__(self) -> str:
        return f"close (rtol {self.rtol:g}, atol {self.atol:g})"


@dataclass(frozen=True, slots=True)
class Lossy:
    """Outputs change; a metric says how much that matters."""

    metric: str = ""

    def __str__(self) -> str:
        return f"lossy ({self.metric})" if self.metric else "lossy"


Numerics = Exact | Close | Lossy


def weakest(*promises: Numerics) -> Numerics:
    """The promise that holds for passes run one after the other: Lossy over Close over Exact, tolerances added."""
    if any(isinstance(promise, Lossy) for promise in promises):
        return next(promise for promise in promises if isinstance(promise, Lossy))
    close = [promise for promise in promises if isinstance(promise, Close)]
    if not close:
        return Exact()
    return Close(rtol=sum(promise.rtol for promise in close), atol=sum(promise.atol for promise in close))
