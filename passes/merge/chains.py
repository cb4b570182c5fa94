"""Maximal chains of linear operators, with the numbers that decide whether they become fewer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx_ir

from netwright.ir.dims import shape_of
from netwright.passes.merge.forms import Convolution, Form, Lookup, Product
from netwright.passes.merge.links import Link, following, link_ending, link_of, read_beside

_MOST_LINKS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Links one after the other, in the order in which they are applied; each value between two has one reader.

    Attributes:
        links: them.
        blocked: why the chain does not begin earlier though another link stands there; empty where none does.
        beside: the link that stands there.
    """

    links: tuple[Link, ...]
    blocked: str = ""
    beside: Link | None = None

    @property
    def data(self) -> onnx_ir.Value:
        """What the first reads."""
        return self.links[0].data

    @property
    def last(self) -> Link:
        """The one that gives the result."""
        return self.links[-1]

    @property
    def nodes(self) -> tuple[onnx_ir.Node, ...]:
        """Of all links."""
        return tuple(node for link in self.links for node in link.nodes)

    @property
    def weights(self) -> tuple[onnx_ir.Value, ...]:
        """Of all links."""
        return tuple(link.weight for link in self.links)

    def same_weights(self, other: Chain) -> bool:
        """Whether both compute the same product: then one new weight does for both."""
        if len(self.links) != len(other.links):
            return False
        pairs = zip(self.links, other.links, strict=True)
        return all(_same(a, b) for a, b in pairs)

    def mirrors(self, other: Chain) -> bool:
        """Whether the other computes the transposed product: a table that is the head's weight too."""
        if len(self.links) != len(other.links):
            return False
        pairs = zip(self.links, reversed(other.links), strict=True)
        return all(a.weight is b.weight and a.turned != b.turned and a.scale == b.scale and _matrix(a) and _matrix(b) for a, b in pairs)


def _matrix(link: Link) -> bool:
    """Whether it multiplies from the right, or looks up."""
    return isinstance(link.form, Lookup) or (isinstance(link.form, Product) and not (link.form.left or link.form.turned))


def _same(one: Link, other: Link) -> bool:
    """Whether two links differ in what they read, and in the numbers of their biases, at most."""
    if one.weight is not other.weight or (one.bias is None) != (other.bias is None) or len(one.nodes) != len(other.nodes):
        return False
    return (one.node.op_type, one.turned, one.scale, one.form) == (other.node.op_type, other.turned, other.scale, other.form)


def chain_at(node: onnx_ir.Node) -> Chain | None:
    """The maximal chain whose last link is this node; None where it is no linear operator, or another link goes on."""
    last = link_of(node)
    if last is None or following(last) is not None:
        return None
    return chain_to(last)


def chain_to(last: Link) -> Chain:
    """The maximal chain that ends in a link."""
    links = [last]
    while len(links) < _MOST_LINKS:
        before = link_ending(links[0].data)
        if before is None or not _joins(before.form, links[0].form):
            break
        shared = read_beside(before)
        if shared is not None:
            return Chain(tuple(links), _shared(shared), before)
        links.insert(0, before)
    return Chain(tuple(links))


def _joins(first: Form, second: Form) -> bool:
    """Whether they are of one kind at all; whether and how they compose is decided later."""
    if isinstance(first, Convolution) or isinstance(second, Convolution):
        return isinstance(first, Convolution) and isinstance(second, Convolution)
    return not isinstance(first.then(second), str)


def _shared(value: onnx_ir.Value) -> str:
    """Why a value stays, as the end of a sentence."""
    if value.is_graph_output():
        return f"the value between, %{value.name}, is an output of its graph"
    return f"the value between, %{value.name}, has {len(value.uses())} readers"


def merged_form(links: Sequence[Link]) -> Form | str:
    """The form of all links together; or why there is none, as the end of a sentence."""
    form = links[0].form
    biased = links[0].bias is not None
    for number, (before, link) in enumerate(pairwise(links), start=1):
        made = form.then(link.form)
        if isinstance(made, str):
            return made
        if before.fixed:
            return before.fixed
        if biased and link.form.spreads:
            return f"the bias between cannot be moved: {link.form.spreads}"
        if biased and link.fixed:
            return link.fixed
        biased = biased or (link.bias is not None and number < len(links) - 1)
        form = made
    if isinstance(form, Lookup) and links[-1].fixed:
        return links[-1].fixed
    return form


def merged_numbers(links: Sequence[Link]) -> tuple[np.ndarray, np.ndarray | None]:
    """Weight and bias of all links together, float64."""
    form, numbers, bias = links[0].form, links[0].numbers, links[0].bias
    for link in links[1:]:
        own = link.numbers
        pushed = None if bias is None else link.form.push(bias, own)
        bias = link.bias if pushed is None else pushed if link.bias is None else pushed + link.bias
        numbers = form.product(numbers, link.form, own)
        both = form.then(link.form)
        assert not isinstance(both, str), "merged_form gave a form"
        form = both
    return numbers, bias


def places(chain: Chain) -> list[float]:
    """How many places the data and each link's result have: counted where shapes are known, else in proportion."""
    values = [chain.data, *(link.node.outputs[0] for link in chain.links)]
    known = [_spatial(value, link.form) for value, link in zip(values, (chain.links[0], *chain.links), strict=True)]
    if all(number is not None for number in known):
        return [float(number or 0) for number in known]
    found = [1.0]
    for link in chain.links:
        found.append(found[-1] * link.form.growth())
    return found


def _spatial(value: onnx_ir.Value, form: Form) -> int | None:
    if not isinstance(form, Convolution):
        return 1
    dims = shape_of(value)
    if dims is None:
        return None
    sizes = [dim for dim in dims[2:] if isinstance(dim, int)]
    return math.prod(sizes) if len(sizes) == len(dims) - 2 else None
