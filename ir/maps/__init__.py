"""Value maps: how a value of the new graph, a weight or an activation, comes from values of the graph before.

`map.apply(old) → new`; `map.invert(new) → old`, where new determines old; `f.then(g)` is "first f, then g". The laws, which
are tested: `f.then(g).apply == g.apply ∘ f.apply`, and `invert ∘ apply` is the identity (up to rounding) where it is not None.
A map that loses something has no inverse, but may be able to say what old was, about: `reconstruct`.

Layer-by-layer comparison across pruning, weight write-back and graph diff rest on these. Maps are immutable data and go
to JSON and back.
"""

from netwright.ir.maps.base import ValueMap
from netwright.ir.maps.compose import Chain, Joined, join
from netwright.ir.maps.mapped import Mapped, from_dict
from netwright.ir.maps.moves import Concat, Gone, Permute, Reshape, Same, Split, Take
from netwright.ir.maps.numbers import Affine, Cast, Factor, Merge

__all__ = [
    "Affine",
    "Cast",
    "Chain",
    "Concat",
    "Factor",
    "Gone",
    "Joined",
    "Mapped",
    "Merge",
    "Permute",
    "Reshape",
    "Same",
    "Split",
    "Take",
    "ValueMap",
    "from_dict",
    "join",
]
