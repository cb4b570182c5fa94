"""Searching scales for all activations of a program."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netwright.passes.planning import first_match
from netwright.passes.quantize.equalizing.groups import Group, find_groups
from netwright.passes.quantize.equalizing.search import Found, search
from netwright.passes.quantize.equalizing.seen import look
from netwright.passes.quantize.equalizing.smoothing import Smoothing
from netwright.passes.quantize.equalizing.sources import parts_of
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Executor, Feeds

GAIN_FREE, GAIN_MUL = 0.98, 0.9
"""An activation is smoothed where the error of its products falls to this share or lower: where that costs nothing, and where it costs
a multiplication (1 to 2 % of the products' time)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How scales are searched.

    Attributes:
        alpha: the only SmoothQuant exponent; several forms where not given.
        per_batch: whether activations get a step for each batch (dynamic) or one for all (static).
        bits: of the weights.
        exclude: patterns of activations, or of readers, that stay.
        only: names of readers; groups of which none is among them are not looked at.
    """

    alpha: float | None = None
    per_batch: bool = True
    bits: int = 8
    exclude: Sequence[str] = ()
    only: Collection[str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scales:
    """What was found.

    Attributes:
        smoothings: by activation.
        numbers: of those, the form and the errors.
        misses: of all other activations.
    """

    smoothings: dict[str, Smoothing]
    numbers: dict[str, Found]
    misses: list[Miss]


def find_scales(program: Program, executor: Executor, feeds: Sequence[Feeds], how: Search, seed: int = 0) -> Scales:
    """Search a scale for each activation that products with constant weights read; runs the program once over the feeds.

    Args:
        program: float; left as it is.
        executor: runs it.
        feeds: a few batches; every second one judges.
        how: what the integers are going to be.
        seed: of the draw of rows.
    """
    scales = Scales({}, {}, [])
    groups: list[Group] = []
    for entry in find_groups(program):
        if isinstance(entry, Miss):
            scales.misses.append(entry)
            continue
        if how.only is not None and not any(reader.name in how.only for reader in entry.readers):
            continue
        pattern = first_match(how.exclude, (entry.name, *(reader.name for reader in entry.readers)))
        if pattern is None:
            groups.append(entry)
        else:
            scales.misses.append(Miss(f"left as it is: exclude names it ('{pattern}')", entry.name))
    seen = look(program, executor, feeds, [group.name for group in groups], seed)
    for group in groups:
        known = seen.get(group.name)
        if known is None or known.power.shape != (group.channels,):
            scales.misses.append(Miss("left as it is: its channels differ from batch to batch, or it is empty", group.name))
            continue
        if not known.finite:
            scales.misses.append(Miss("left as it is: it holds values that are not finite", group.name))
            continue
        weights = [reader.matrix() for reader in group.readers]
        found = search(known, weights, bits=how.bits, per_batch=how.per_batch, alpha=how.alpha)
        limit = GAIN_MUL if parts_of(group) is None else GAIN_FREE
        if found is None or found.after > limit * found.before:
            scales.misses.append(Miss(_reason(found, limit), group.name))
            continue
        scales.smoothings[group.name] = Smoothing(found.exponents)
        scales.numbers[group.name] = found
    return scales


def _reason(found: Found | None, limit: float) -> str:
    if found is None:
        return "left as it is: its channels are of one size already, or are zero"
    return (
        f"left as it is: smoothed ({found.form}), the error of its products as integers would go from {found.before:.2%} to "
        f"{found.after:.2%}, which is not under {limit:g} of it"
    )
