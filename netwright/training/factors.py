"""Weights that are a product: chains of linear operators with nothing in between, such as `factorize` writes.

A chain computes y = x F₁ F₂ … F_k with trained factors, so that what it multiplies by is the product, however it is shared out over
the factors. Chains are found in the graph as it is; it does not matter how they came about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_ir

from netwright.ir.opinfo import float_attr, has_references, int_attr, ints_attr, is_float
from netwright.ir.program import Program


@dataclass(frozen=True, slots=True)
class Factor:
    """A weight as a factor of a product.

    Attributes:
        weight: name of the initializer.
        split: sizes into which its axes are cut.
        perm: the order of these that gives [groups, *taps, in, out]: for each group of channels and each tap of the kernel the matrix
            by which a row vector is multiplied.
    """

    weight: str
    split: tuple[int, ...]
    perm: tuple[int, ...]


Chain = tuple[Factor, ...]
"""At least two factors, in the order in which they are applied."""


@dataclass(frozen=True, slots=True)
class _Link:
    """A node that multiplies by a weight.

    Attributes:
        node: that multiplies.
        factor: its weight.
        kind: `rows` of the last axis, `channels` of the second one, `table` whose rows are looked up, `recurrent`.
        groups: of channels.
        wide: the spatial axes along which the kernel has more than one tap.
        biased: whether it adds a bias, too.
    """

    node: onnx_ir.Node
    factor: Factor
    kind: str
    groups: int = 1
    wide: frozenset[int] = frozenset()
    biased: bool = False

    def goes_before(self, other: _Link) -> bool:
        """Whether a product of the two is one weight: the same axis of the data, groups alike, no two kernels along one axis."""
        follows = {"rows": ("rows", "recurrent"), "channels": ("channels",), "table": ("rows",)}.get(self.kind, ())
        return other.kind in follows and self.groups == other.groups and not self.wide & other.wide and not self.biased


def factor_chains(program: Program) -> tuple[Chain, ...]:
    """All chains of a program, in graph order. Linear in nodes.

    The links are MatMul and Gemm with a weight on the right (transposed or not), convolutions and transposed ones, a table whose rows
    are looked up (first), and the input weight of LSTM, GRU or RNN (last, and not right after a table, which is how any network begins).
    Only the last may have a bias. A value in between is read by links only; where there are several, as with factors that q, k and v
    share, each path is a chain. Weights that are also read elsewhere are in none.

    Args:
        program: read only.
    """
    links = {link.node: link for node in program.nodes() if (link := _link(node)) is not None}
    following = {node: after for node, link in links.items() if (after := _following(link, links))}
    inner = {after for found in following.values() for after in found}
    paths = [path for node in links if node in following and node not in inner for path in _paths(node, following)]
    return _unshared([tuple(links[node] for node in path) for path in paths], program)


def _following(link: _Link, links: Mapping[onnx_ir.Node, _Link]) -> tuple[onnx_ir.Node, ...]:
    """The links that read what a link makes; none unless all its readers are such, so that it is a factor and nothing else."""
    value = link.node.outputs[0]
    readers = tuple(dict.fromkeys(use.node for use in value.uses()))
    if value.is_graph_output() or any(use.idx != 0 for use in value.uses()):
        return ()
    fits = all(node in links and node.graph is link.node.graph and link.goes_before(links[node]) for node in readers)
    return readers if fits else ()


def _paths(node: onnx_ir.Node, following: Mapping[onnx_ir.Node, tuple[onnx_ir.Node, ...]]) -> Iterator[tuple[onnx_ir.Node, ...]]:
    """All ways from a link to one that ends a chain."""
    if node not in following:
        yield (node,)
    for after in following.get(node, ()):
        for rest in _paths(after, following):
            yield (node, *rest)


def _unshared(paths: list[tuple[_Link, ...]], program: Program) -> tuple[Chain, ...]:
    """The paths whose weights nothing else reads, each product once."""
    readers = {value.name or "": len(_readers(value)) for value in program.initializers()}
    while True:
        read = Counter(link.factor.weight for link in {link.node: link for path in paths for link in path}.values())
        kept = [path for path in paths if all(readers.get(link.factor.weight) == read[link.factor.weight] for link in path)]
        if len(kept) == len(paths):
            break
        paths = kept
    found: dict[frozenset[str], Chain] = {}
    for path in paths:
        weights = frozenset(link.factor.weight for link in path)
        kernels = [axis for link in path for axis in link.wide]
        if len(weights) == len(path) and len(set(kernels)) == len(kernels):
            found.setdefault(weights, tuple(link.factor for link in path))
    return tuple(found.values())


def _readers(weight: onnx_ir.Value) -> list[onnx_ir.Node]:
    """The nodes that read a weight, through a Transpose or not."""
    found = [use.node for use in weight.uses()]
    turned = [use.node for node in found if _turns(node) for use in node.outputs[0].uses()]
    return [node for node in found if not _turns(node)] + turned


# ---- operators ---------------------------------------------------------------------------------------------------------


def _link(node: onnx_ir.Node) -> _Link | None:
    make = _LINKS.get(node.op_type) if node.domain in ("", "ai.onnx") and not has_references(node) else None
    return None if make is None else make(node)


def _matmul(node: onnx_ir.Node) -> _Link | None:
    matrix = node.inputs[1]
    turn = None if matrix is None else matrix.producer()
    turned = turn is not None and _turns(turn)
    shape = _shape(turn.inputs[0] if turn is not None and turned else matrix)
    weight = turn.inputs[0] if turn is not None and turned else matrix
    return None if weight is None or len(shape) != 2 else _Link(node, _matrix(weight, shape, turned=turned), "rows")


def _gemm(node: onnx_ir.Node) -> _Link | None:
    weight = node.inputs[1]
    shape = _shape(weight)
    if weight is None or len(shape) != 2 or int_attr(node, "transA", 0) or float_attr(node, "alpha", 1.0) != 1.0:
        return None
    factor = _matrix(weight, shape, turned=bool(int_attr(node, "transB", 0)))
    return _Link(node, factor, "rows", biased=len(node.inputs) > 2 and node.inputs[2] is not None)


def _convolution(node: onnx_ir.Node) -> _Link | None:
    weight = node.inputs[1]
    shape = _shape(weight)
    groups = int_attr(node, "group", 1)
    if weight is None or len(shape) < 3 or groups < 1 or shape[0] % groups:
        return None
    first = 2 if node.op_type == "Conv" else 1  # where, once groups are cut off, the inputs are
    perm = (0, *range(3, len(shape) + 1), first, 3 - first)
    factor = Factor(weight.name or "", (groups, shape[0] // groups, *shape[1:]), perm)
    wide = frozenset(axis for axis, taps in enumerate(shape[2:]) if taps > 1)
    return _Link(node, factor, "channels", groups, wide, len(node.inputs) > 2 and node.inputs[2] is not None)


def _table(node: onnx_ir.Node) -> _Link | None:
    weight = node.inputs[0]
    shape = _shape(weight)
    if weight is None or len(shape) != 2 or int_attr(node, "axis", 0) not in (0, -2):
        return None
    return _Link(node, _matrix(weight, shape, turned=False), "table")


def _recurrent(node: onnx_ir.Node) -> _Link | None:
    weight = node.inputs[1]
    shape = _shape(weight)
    if weight is None or len(shape) != 3:
        return None
    return _Link(node, _matrix(weight, (shape[0] * shape[1], shape[2]), turned=True), "recurrent", biased=True)


_LINKS = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Gather": _table,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}


def _matrix(weight: onnx_ir.Value, shape: tuple[int, ...], *, turned: bool) -> Factor:
    return Factor(weight.name or "", (1, *shape), (0, 2, 1) if turned else (0, 1, 2))


def _shape(weight: onnx_ir.Value | None) -> tuple[int, ...]:
    """Of a float initializer; empty for anything else."""
    if weight is None or not weight.is_initializer() or weight.const_value is None or not is_float(weight.const_value.dtype):
        return ()
    return tuple(weight.const_value.shape.numpy())


def _turns(node: onnx_ir.Node) -> bool:
    """Whether a node transposes a matrix."""
    return node.op_type == "Transpose" and node.domain in ("", "ai.onnx") and tuple(ints_attr(node, "perm")) in ((1, 0), ())
