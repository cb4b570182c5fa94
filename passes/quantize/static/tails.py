"""What an integer kernel does besides: a bias and a bound behind a product, a bound behind a convolution or a sum."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.editor import reader_count
from netwright.ir.opinfo import is_standard
from netwright.ir.program import constant
from netwright.passes.quantize.static.operators import is_bounding


@dataclass(frozen=True, slots=True)
class Tail:
    """A kernel's nodes, first to last.

    Attributes:
        nodes: the kernel's own, then an Add of a bias and a Relu or Clip, where they follow and nobody reads what is between.
        bias: the Add's other operand, a constant of one number for each output channel.
    """

    nodes: tuple[onnx_ir.Node, ...]
    bias: onnx_ir.Value | None = None

    @property
    def last(self) -> onnx_ir.Node:
        """The node that makes the result."""
        return self.nodes[-1]

    @property
    def value(self) -> onnx_ir.Value:
        """The result."""
        return self.nodes[-1].outputs[0]

    @property
    def adding(self) -> onnx_ir.Node | None:
        """The Add of the bias."""
        return self.nodes[1] if self.bias is not None else None


def tail_of(node: onnx_ir.Node, columns: int | None) -> Tail:
    """The nodes that a kernel takes in; `columns` are a product's output channels, None for all else."""
    nodes, bias = [node], None
    if columns is not None:
        follower = _follower(node)
        found = _bias(follower, node.outputs[0], columns) if follower is not None else None
        if follower is not None and found is not None:
            nodes.append(follower)
            bias = found
    follower = _follower(nodes[-1])
    if follower is not None and is_bounding(follower) and node.op_type not in ("Sigmoid", "Concat"):
        nodes.append(follower)
    return Tail(tuple(nodes), bias)


def _follower(node: onnx_ir.Node) -> onnx_ir.Node | None:
    """The one reader of a node's result, in the same graph."""
    value = node.outputs[0]
    if value.is_graph_output() or reader_count(value) != 1:
        return None
    reader = next(iter(value.uses()))[0]
    return reader if reader.graph is node.graph else None


def _bias(node: onnx_ir.Node, product: onnx_ir.Value, columns: int) -> onnx_ir.Value | None:
    """The operand that an Add gives each output channel: [N], or [1, …, 1, N] of no higher rank than the product."""
    if not is_standard(node, "Add"):
        return None
    other = node.inputs[1] if node.inputs[0] is product else node.inputs[0]
    tensor, dims = constant(other), shape_of(product)
    if tensor is None or tensor.dtype != onnx_ir.DataType.FLOAT or not tensor.shape:
        return None
    if len(tensor.shape) > 1 and (dims is None or len(tensor.shape) > len(dims)):
        return None
    return other if tensor.size == columns == tensor.shape[-1] else None
