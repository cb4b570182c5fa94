"""Figures as people read them."""

from __future__ import annotations

_LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity(value: float, unit: str) -> str:
    """A value in the prefix that keeps it between 1 and 1,000: `quantity(1.2e-9, "J")` is `1.2 nJ`."""
    if value == 0 or value != value:
        return f"{value:.0f} {unit}"
    size = abs(value)
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p")):
        if size >= factor * 0.9995:
            return f"{_three(value / factor)} {prefix}{unit}"
    return f"{_three(value / 1e-15)} f{unit}"


def energy(picojoules: float) -> str:
    """An energy given in pJ."""
    return quantity(picojoules * 1e-12, "J")


def time(nanoseconds: float) -> str:
    """A time given in ns."""
    return quantity(nanoseconds * 1e-9, "s")


def count(value: float) -> str:
    """A count."""
    for factor, prefix in _LARGE:
        if value >= factor * 0.9995:
            return f"{_three(value / factor)} {prefix}"
    return f"{value:.0f}"


def percent(share: float) -> str:
    """A share, 0 to 1."""
    return f"{100 * share:.1f} %"


def _three(value: float) -> str:
    """Three digits."""
    size = abs(value)
    return f"{value:.0f}" if size >= 99.95 else f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"
