"""What a weight of the original program becomes after passes, in the original's shape: the way back through value maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from netwright.ir.ledger import Ledger
from netwright.ir.lineage import inverses, lineage
from netwright.ir.maps import Chain, Gone, Same, Take, ValueMap


@dataclass(frozen=True, slots=True)
class Seen:
    """Weights seen through passes.

    Attributes:
        arrays: by original name, what the passes made of the weight, in its own shape.
        refused: original names that cannot be seen, with reasons.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    refused: dict[str, str] = field(default_factory=dict[str, str])


def see_through(ledger: Ledger, current: Mapping[str, np.ndarray], originals: Mapping[str, tuple[int, ...]]) -> Seen:
    """Reconstruct originals from current values.

    A factorized weight is the product of its factors, a quantized one what its integers stand for, a permuted one is put back in
    order; slices that were taken out are zero.

    Args:
        ledger: what was done since the originals.
        current: arrays of the present initializers by name.
        originals: shapes by name, of what is wanted.
    """
    seen = Seen()
    back = inverses(ledger, current)
    origins = {name: lineage(ledger, name) for name in current}
    for name, shape in originals.items():
        exact = back.known.get(name)
        if exact is not None:
            seen.arrays[name] = exact.map.apply(*(current[source] for source in exact.sources))
            continue
        heirs = [(heir, origin.map) for heir, origin in origins.items() if origin.sources == (name,) and not isinstance(origin.map, Gone)]
        found = next((array for heir, how in heirs if (array := undone(how, current[heir])) is not None), None)
        if found is None:
            seen.refused[name] = back.refused.get(name) or _reason(ledger, name)
        elif found.shape != shape:
            seen.refused[name] = f"%{name} has shape {list(shape)}, and comes back as {list(found.shape)}"
        else:
            seen.arrays[name] = found
    return seen


def undone(how: ValueMap, array: np.ndarray) -> np.ndarray | None:
    """An array as it was before a map of one array, as nearly as can be told: slices that were not taken are zero."""
    links = how.maps if isinstance(how, Chain) else (how,)
    result: np.ndarray | None = array
    for link in reversed(links):
        if result is None:
            return None
        if isinstance(link, Take):
            shape = list(result.shape)
            shape[link.axis] = link.size
            result = link.put(result, np.zeros(shape, result.dtype))
        elif not isinstance(link, Same):
            found = link.reconstruct(result)
            result = found if isinstance(found, np.ndarray) else None
    return result


def _reason(ledger: Ledger, name: str) -> str:
    """Why nothing of a weight is left."""
    for action in ledger.actions:
        mapped = action.maps.get(name)
        if mapped is not None and isinstance(mapped.map, Gone):
            return f"%{name}: {mapped.map.why or 'gone'} ({action.number})"
    return f"%{name} has no heir among the initializers"
