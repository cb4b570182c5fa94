"""Several linear operators that read what one other gives: q, k and v behind a shared factor."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir

from netwright.passes.merge.chains import merged_form
from netwright.passes.merge.links import Link, link_of, with_tail
from netwright.passes.simplify.match import only_reader


@dataclass(frozen=True, slots=True, eq=False)
class Fan:
    """A link whose result only other links read, two or more.

    Attributes:
        source: the first.
        readers: the others, in the order in which they read; none with what stands behind it.
    """

    source: Link
    readers: tuple[Link, ...]

    @property
    def links(self) -> tuple[Link, ...]:
        """All of them."""
        return (self.source, *self.readers)


def fan_of(node: onnx_ir.Node) -> Fan | None:
    """The fan behind a node, through constant factors and biases; None where there is none, or something else reads its value too."""
    source = link_of(node)
    while source is not None and (behind := only_reader(source.end)) is not None:
        source = with_tail(source, [behind]) if link_of(behind) is None else None
    if source is None or source.end.is_graph_output() or len(source.end.uses()) < 2:
        return None
    users = list(dict.fromkeys(user for user, _ in source.end.uses()))
    found = [link for user in users if (link := link_of(user)) is not None and link.data is source.end and user.graph is node.graph]
    if len(found) < len(source.end.uses()) or any(isinstance(merged_form((source, link)), str) for link in found):
        return None
    return Fan(source, tuple(found))
