"""Lineage: how current values come from the original program's, through every action of the ledger, and back.

`lineage` composes value maps from the original to the present; `inverses` goes the other way, which write-back needs: a
parameter that was split or factorized comes back from all its parts together; what has no way back is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from netwright.ir.ledger import Ledger
from netwright.ir.maps import Chain, Concat, Factor, Gone, Mapped, Merge, Same, Split, ValueMap, join


@dataclass(frozen=True, slots=True)
class Inverses:
    """How original values come from current ones.

    Attributes:
        known: original name → how it comes from current values.
        refused: original name → why it does not, as a sentence.
    """

    known: dict[str, Mapped] = field(default_factory=dict[str, Mapped])
    refused: dict[str, str] = field(default_factory=dict[str, str])


def lineage(ledger: Ledger, name: str) -> Mapped:
    """How a current value comes from values of the original program.

    Args:
        ledger: the record of what was done.
        name: the current value's name.

    Returns:
        The composed map and the original values' names; a value that no action touched is the `Same` as itself.
    """
    found = Mapped(Same(), (name,))
    for action in reversed(ledger.actions):
        if action.maps:
            found = found.after(action.maps)
    return found


def inverses(ledger: Ledger, current: Iterable[str]) -> Inverses:
    """How the originals of current values come back from them.

    Args:
        ledger: the record of what was done.
        current: names of current values, the parameters for example.
    """
    parts: dict[str, list[_Part]] = {}
    for name in current:
        origin = lineage(ledger, name)
        for position, source in enumerate(origin.sources):
            parts.setdefault(source, []).append(_Part(name, origin.map, position))
    result = Inverses()
    for source, found in parts.items():
        back = _single(found) or _together(found)
        if back is None:
            ways = "; ".join(f"%{part.name} is {part.map.describe()}" for part in found)
            result.refused[source] = f"%{source} does not come back from what it became: {ways}"
            continue
        result.known[source] = back
    return result


@dataclass(frozen=True, slots=True)
class _Part:
    """A current value, how it came from its originals, and which of them is meant."""

    name: str
    map: ValueMap
    position: int


def _single(parts: Sequence[_Part]) -> Mapped | None:
    """The way back from one of the values alone."""
    for part in parts:
        first, *rest = part.map.maps if isinstance(part.map, Chain) else (part.map,)
        if part.map.arity == 1:
            back = part.map.inverse()
            if back is not None:
                return Mapped(back, (part.name,))
        elif isinstance(first, Concat):
            back = _reversed(rest)
            if back is not None:
                return Mapped(back.then(Split(first.axis, first.sizes, part.position)), (part.name,))
    return None


def _together(parts: Sequence[_Part]) -> Mapped | None:
    """The way back from all pieces of a split, or both factors: same maps before the cut, a way back after it each."""
    cuts = [cut for cut in (_cut(part) for part in parts) if cut is not None]
    for cut in cuts:
        siblings = [other for other in cuts if other.key == cut.key]
        by_piece = {other.piece: other for other in reversed(siblings)}
        if sorted(by_piece) != list(range(cut.pieces)):
            continue
        ordered = [by_piece[piece] for piece in range(cut.pieces)]
        joined = join(cut.joiner, [other.back for other in ordered])
        return Mapped(joined.then(cut.before), tuple(other.name for other in ordered))
    return None


@dataclass(frozen=True, slots=True)
class _Cut:
    name: str
    key: tuple[ValueMap, ...]
    piece: int
    pieces: int
    joiner: ValueMap
    back: ValueMap
    before: ValueMap


def _cut(part: _Part) -> _Cut | None:
    """Where a value was cut off from its siblings, with the way back to there and from there."""
    links = part.map.maps if isinstance(part.map, Chain) else (part.map,)
    for at, link in enumerate(links):
        back, before = _reversed(links[at + 1 :]), _reversed(links[:at])
        if back is None or before is None or not isinstance(link, (Split, Factor)):
            continue
        if isinstance(link, Split):
            whole = Concat(link.axis, link.sizes)
            return _Cut(part.name, (*links[:at], whole), link.part, len(link.sizes), whole, back, before)
        return _Cut(part.name, (*links[:at], Factor("u", link.rank)), int(link.part == "v"), 2, Merge(), back, before)
    return None


def _reversed(links: Sequence[ValueMap]) -> ValueMap | None:
    """The way back through some maps in order, or None."""
    result: ValueMap = Same()
    for link in reversed(links):
        back = None if isinstance(link, Gone) else link.inverse()
        if back is None:
            return None
        result = result.then(back)
    return result
