"""One number for all sites, or numbers by pattern: `0.5`, or `{'layer1.*': 0.5, '*': 0.25}`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import cast

from netwright.ir.errors import PipelineError

PerSite = float | Mapping[str, float]
"""A number for all sites, or numbers by pattern (`*`, `?`) of a site's name or module path; of several that match, the first counts."""


def first_match(patterns: Iterable[str], names: Sequence[str]) -> str | None:
    """The first pattern that one of the names fits; empty names fit none."""
    return next((pattern for pattern in patterns if any(name and fnmatchcase(name, pattern) for name in names)), None)


def setting_for(setting: PerSite, names: Sequence[str]) -> float | None:
    """The number for a site of these names; None where no pattern names it."""
    if not isinstance(setting, Mapping):
        return setting
    pattern = first_match(setting, names)
    return None if pattern is None else setting[pattern]


def unmatched_patterns(patterns: Iterable[str], sites: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The patterns that fit no site at all: typing errors, most often.

    Args:
        patterns: to be looked at.
        sites: the names of each.
    """
    names = [name for site in sites for name in site]
    return tuple(pattern for pattern in patterns if first_match((pattern,), names) is None)


def check_setting(setting: object, *, option: str, place: str, low: float = -math.inf, below: float = math.inf) -> None:
    """Refuse what is neither a number nor numbers by pattern, and numbers out of range.

    Args:
        setting: as given: a `PerSite`, if all is well.
        option: its name.
        place: the pass.
        low: the least number allowed.
        below: what all numbers must be below; infinity for any.

    Raises:
        PipelineError: it is.
    """
    given = cast("Mapping[str, object]", setting).items() if isinstance(setting, Mapping) else ((None, setting),)
    for pattern, number in given:
        where = option if pattern is None else f"{option}[{pattern!r}]"
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise PipelineError(
                f"{where} is a number, not {number!r}.",
                place=place,
                remedy=f"Write {option}=0.5, or {option}={{'layer1.*': 0.5}} with patterns of names or module paths.",
            )
        if not low <= number < below:
            bounds = [*([f"from {low:g}"] if low > -math.inf else []), *([f"below {below:g}"] if below < math.inf else [])]
            raise PipelineError(f"{where} is {number!r}; it must be {' and '.join(bounds) or 'a number'}.", place=place)
    if isinstance(setting, Mapping) and not setting:
        raise PipelineError(f"{option} names no site.", place=place, remedy=f"Write {option}={{'layer1.*': 0.5}}, or one number for all.")
