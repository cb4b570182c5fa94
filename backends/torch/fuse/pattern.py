"""Small questions about a node's surroundings, out of which patterns are matched."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir

from netwright.backends.torch.fuse.scalars import number
from netwright.ir.dims import Dim, as_dim
from netwright.passes.simplify.match import producer


def read_once(value: onnx_ir.Value, keep: Collection[str]) -> bool:
    """True of a value that has one reader, is no output of its graph, and is not to be kept."""
    return len(value.uses()) == 1 and not value.is_graph_output() and value.name not in keep


def read_within(value: onnx_ir.Value, nodes: Collection[onnx_ir.Node], keep: Collection[str]) -> bool:
    """True of a value that only these nodes read, and that is neither an output of its graph nor to be kept."""
    return not value.is_graph_output() and value.name not in keep and all(user in nodes for user, _ in value.uses())


def contained(nodes: Collection[onnx_ir.Node], root: onnx_ir.Node, keep: Collection[str]) -> bool:
    """True where nothing but the nodes themselves reads what they make, the root's result left out, and all are of one graph."""
    covered = {*nodes, root}
    return all(
        node.graph is root.graph and (node is root or all(read_within(value, covered, keep) for value in node.outputs)) for node in covered
    )


def scaled_by(value: onnx_ir.Value | None) -> tuple[onnx_ir.Value, float, tuple[onnx_ir.Node, ...]] | None:
    """Of a product or quotient with a number: the other operand, the factor, and the nodes that scale."""
    node = producer(value, "Mul", "Div")
    if node is None:
        return None
    left, right = node.inputs
    if left is None or right is None:
        return None
    factor = number(right, left)
    if factor is not None:
        if node.op_type == "Mul":
            return left, factor, (*typed_by(right), node)
        return (left, 1.0 / factor, (*typed_by(right), node)) if factor else None
    factor = number(left, right) if node.op_type == "Mul" else None
    return None if factor is None else (right, factor, (*typed_by(left), node))


def typed_by(value: onnx_ir.Value | None) -> tuple[onnx_ir.Node, ...]:
    """The CastLike that gives one reader's number its type; it may read an inner value of the pattern, without needing it."""
    node = producer(value, "CastLike")
    return () if node is None or value is None or len(value.uses()) != 1 else (node,)


def rank(value: onnx_ir.Value | None) -> int | None:
    """How many axes a value has, where known."""
    return None if value is None or value.shape is None else len(value.shape)


def dims_of(value: onnx_ir.Value | None) -> tuple[Dim, ...] | None:
    """A value's dimensions, where its rank is known."""
    return None if value is None or value.shape is None else tuple(as_dim(dim) for dim in value.shape)
