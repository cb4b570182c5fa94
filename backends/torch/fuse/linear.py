"""Linear layers spelled out: a product with a matrix of weights, perhaps transposed, perhaps with a bias added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir

from netwright.backends.torch.fuse.pattern import contained, dims_of, rank, read_once
from netwright.ir.dims import dims_equal
from netwright.ir.opinfo import ints_attr, is_float
from netwright.ir.program import Program
from netwright.passes.simplify.match import producer


@dataclass(frozen=True, slots=True)
class LinearMatch:
    """One linear layer found in a graph.

    Attributes:
        root: the last node, whose output is the layer's.
        nodes: all nodes that one call replaces, the root included.
        x: [..., in].
        weight: [out, in] if `transposed`, else [in, out].
        bias: [out], or None.
        transposed: the graph transposes the weight before the product.
    """

    root: onnx_ir.Node
    nodes: tuple[onnx_ir.Node, ...]
    x: onnx_ir.Value
    weight: onnx_ir.Value
    bias: onnx_ir.Value | None
    transposed: bool

    @property
    def output(self) -> onnx_ir.Value:
        """The layer's result [..., out]."""
        return self.root.outputs[0]

    @property
    def inputs(self) -> tuple[onnx_ir.Value | None, ...]:
        """What `fused_linear` takes as tensors, in order."""
        return (self.x, self.weight) if self.bias is None else (self.x, self.weight, self.bias)

    @property
    def keywords(self) -> Mapping[str, bool]:
        """What `fused_linear` takes by name."""
        return {"transposed": self.transposed}


def find_linear(program: Program, keep: frozenset[str]) -> list[LinearMatch]:
    """All products of a value with a matrix of weights, in graph order. Linear in them.

    The weight is an initializer of rank 2 or the result of a DequantizeLinear; a bias is of rank 1 and as long as there are
    outputs. A transposed weight with several readers is still read as it is; its Transpose then is no part of the match.

    Args:
        program: read only; shapes and types inferred.
        keep: names of values that must be computed.
    """
    found = (_match(node, keep) for node in program.nodes("MatMul", domain=""))
    return [match for match in found if match is not None]


def _match(product: onnx_ir.Node, keep: frozenset[str]) -> LinearMatch | None:
    x, matrix = product.inputs
    if x is None or matrix is None or rank(matrix) != 2 or (rank(x) or 0) < 1 or not is_float(matrix.dtype) or x.dtype != matrix.dtype:
        return None
    turn = producer(matrix, "Transpose")
    weight = matrix if turn is None else turn.inputs[0]
    if weight is None or not _holds_weights(weight) or (turn is not None and ints_attr(turn, "perm") not in ((1, 0), ())):
        return None
    nodes = [product]
    if turn is not None and turn.graph is product.graph and read_once(matrix, keep):
        nodes.insert(0, turn)
    root, bias = _biased(product, matrix, keep)
    if root is not product:
        nodes.append(root)
    return LinearMatch(root, tuple(nodes), x, weight, bias, turn is not None) if contained(nodes, root, keep) else None


def _holds_weights(value: onnx_ir.Value) -> bool:
    return value.is_initializer() or producer(value, "DequantizeLinear") is not None


def _biased(product: onnx_ir.Node, matrix: onnx_ir.Value, keep: frozenset[str]) -> tuple[onnx_ir.Node, onnx_ir.Value | None]:
    """The Add that puts a bias on a product, and the bias; the product itself and None where there is none."""
    value = product.outputs[0]
    if not read_once(value, keep):
        return product, None
    node = next(iter(value.uses())).node
    if node.op_type != "Add" or node.domain not in ("", "ai.onnx") or node.graph is not product.graph:
        return product, None
    left, right = node.inputs
    bias = right if left is value else left
    dims, wanted = dims_of(bias), dims_of(matrix)
    if bias is None or dims is None or wanted is None or len(dims) != 1 or not dims_equal(dims[0], wanted[-1]) or bias.dtype != value.dtype:
        return product, None
    return node, bias
