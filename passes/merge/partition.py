"""Where a chain is cut: links between two cuts become one.

All ways of cutting are compared on the whole chain's numbers (a dynamic programme over the places of the last cut, quadratic in the links),
so that what becomes of a pair does not depend on which pair is looked at first: 384→48→384→48→384 is best cut behind the first 48.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_ir

from netwright.passes.merge.chains import Chain, merged_form, places
from netwright.passes.merge.links import Link
from netwright.passes.merge.policy import Size, not_smaller

Segment = tuple[int, int]
"""First link, and one past the last."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A chain cut into segments.

    Attributes:
        segments: in order; of one link each where nothing is merged.
        size: of all of them.
    """

    segments: tuple[Segment, ...]
    size: Size

    @property
    def merges(self) -> bool:
        """Whether any segment has several links."""
        return any(stop - start > 1 for start, stop in self.segments)


def size_of(links: Sequence[Link], counted: Collection[onnx_ir.Value]) -> int:
    """Parameters of links as they are; of weights only those that are to be counted, and each once."""
    weights = {link.weight: link.form.size for link in links if link.weight in counted}
    return sum(weights.values()) + sum(link.bias.size for link in links if link.bias is not None)


def whole(chain: Chain, counted: Collection[onnx_ir.Value]) -> Size:
    """A chain as it is."""
    at = places(chain)
    macs = sum(link.form.size * link.form.places(at[i], at[i + 1]) for i, link in enumerate(chain.links))
    return Size(size_of(chain.links, counted), macs)


def merged(chain: Chain, segment: Segment) -> Size | str:
    """What one operator in the place of a segment holds and takes; or why there is none."""
    start, stop = segment
    links, at = chain.links[start:stop], places(chain)
    form = merged_form(links)
    if isinstance(form, str):
        return form
    bias = form.outputs if any(link.bias is not None for link in links) else 0
    return Size(form.size + bias, form.size * form.places(at[start], at[stop]))


def partition(chain: Chain, counted: Collection[onnx_ir.Value], *, smaller: bool) -> Partition:
    """Cut a chain.

    Args:
        chain: the maximal one.
        counted: the weights that go where their links do; others stay whatever happens here.
        smaller: cut for the fewest parameters, merging only what then holds and takes no more; else into as few operators as can be.
    """
    best: list[tuple[tuple[int, int], Partition]] = [((0, 0), Partition((), Size(0)))]
    for stop in range(1, len(chain.links) + 1):
        found: list[tuple[tuple[int, int], Partition]] = []
        for start in range(stop):
            size = _segment(chain, (start, stop), counted, smaller=smaller)
            if size is None:
                continue
            _, before = best[start]
            total = Size(before.size.parameters + size.parameters, before.size.macs + size.macs)
            segments = (*before.segments, (start, stop))
            key = (total.parameters, len(segments)) if smaller else (len(segments), total.parameters)
            found.append((key, Partition(segments, total)))
        best.append(min(found, key=lambda one: one[0]))
    return best[-1][1]


def _segment(chain: Chain, segment: Segment, counted: Collection[onnx_ir.Value], *, smaller: bool) -> Size | None:
    start, stop = segment
    links, at = chain.links[start:stop], places(chain)
    macs = sum(link.form.size * link.form.places(at[start + i], at[start + i + 1]) for i, link in enumerate(links))
    factors = Size(size_of(links, counted), macs)
    if len(links) == 1:
        return factors
    product = merged(chain, segment)
    if isinstance(product, str) or (smaller and not_smaller(factors, product, "")):
        return None
    return product
