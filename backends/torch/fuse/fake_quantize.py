"""Layers between quantizers: `Q(relu(conv(DQ(x), DQ(w)) + b))`, as static quantization writes them, in one call.

The call computes what the integer kernel computes that takes the place of the layer when the program is folded. What is recognised:
Conv, Gemm and MatMul of two dequantized operands, the second perhaps with a scale for each output channel; a bias that is a constant, or
integers of 32 bits that are dequantized; Add of two dequantized values; GlobalAveragePool, and ReduceMean that is one; Relu or Clip before
the quantizer; Gemm and MatMul without a quantizer behind. A bias that is added behind a MatMul stays a real number. Nothing matches in
which a value between layer and quantizer has another reader, is an output, or is to be kept. Who else reads a dequantized operand does not
matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir

from netwright.backends.torch.fuse.pattern import rank, read_once
from netwright.backends.torch.fuse.quantized_layers import LAYERS, Keyword, Layer, is_single, layer_of
from netwright.backends.torch.fuse.scalars import number
from netwright.ir.program import Program, constant
from netwright.passes.simplify.match import producer


@dataclass(frozen=True, slots=True)
class QuantizedMatch:
    """One layer between quantizers.

    Attributes:
        root: the QuantizeLinear behind it, or the product where none is.
        nodes: all nodes that one call replaces, the root included.
        function: what computes them.
        inputs: what the call takes as tensors, in order.
        keywords: what it takes by name.
    """

    root: onnx_ir.Node
    nodes: tuple[onnx_ir.Node, ...]
    function: Callable[..., object]
    inputs: tuple[onnx_ir.Value | None, ...]
    keywords: Mapping[str, Keyword]


def find_quantized(program: Program, keep: frozenset[str]) -> list[QuantizedMatch]:
    """All layers between quantizers, in graph order, then products with real results. Linear in quantizers and products.

    Args:
        program: read only; shapes and types inferred.
        keep: names of values that must be computed.
    """
    found = (_between(node, keep) for node in program.nodes("QuantizeLinear", domain=""))
    layers = [match for match in found if match is not None]
    taken = {node for match in layers for node in match.nodes}
    alone = (_alone(node) for node in program.nodes("Gemm", "MatMul", domain="") if node not in taken)
    return layers + [match for match in alone if match is not None]


def _between(root: onnx_ir.Node, keep: frozenset[str]) -> QuantizedMatch | None:
    """The layer that ends in a quantizer."""
    made, scale = root.outputs[0].dtype, root.inputs[1]
    zero = root.inputs[2] if len(root.inputs) > 2 else None
    if made is None or not made.is_integer() or scale is None or not is_single(scale) or "precision" in root.attributes:
        return None
    nodes, bounds = [root], dict[str, Keyword]()
    value = root.inputs[0]
    activation = producer(value, "Relu", "Clip")
    if activation is not None:
        limits = _limits(activation)
        if limits is None:
            return None
        bounds, value = limits, activation.inputs[0]
        nodes.append(activation)
    bias, adding = _added(value)
    if adding is not None:
        nodes.append(adding)
        value = next((given for given in adding.inputs if given is not bias), None)
    node = producer(value, *LAYERS)
    found = None if node is None else layer_of(node)
    if found is not None and bias is not None:
        found = _with_bias(found, bias, value)
    if node is None or found is None or not all(_is_inner(reader.inputs, reader, keep) for reader in nodes):
        return None
    return _matched((*reversed([*nodes, node]),), found, (scale, zero), {"code": int(made), **bounds}, real=adding is not None)


def _alone(node: onnx_ir.Node) -> QuantizedMatch | None:
    """A product of integers from which real numbers come."""
    found = layer_of(node)
    return None if found is None else _matched((node,), found, (None, None), {}, real=False)


def _matched(
    nodes: tuple[onnx_ir.Node, ...],
    layer: Layer,
    result: tuple[onnx_ir.Value | None, onnx_ir.Value | None],
    keywords: Mapping[str, Keyword],
    *,
    real: bool,
) -> QuantizedMatch | None:
    """The match; None where the bias is computed."""
    whole = _whole(layer.bias)
    if layer.bias is not None and whole is None and constant(layer.bias) is None:
        return None
    bias = whole or layer.bias
    inputs = (*(value for one in layer.operands for value in one.values), *result, *(() if bias is None else (bias,)))
    biased = {"whole_bias": True} if whole is not None else {"real_bias": True} if real else {}
    return QuantizedMatch(nodes[-1], nodes, layer.function, inputs, {**keywords, **layer.keywords, **biased})


def _added(value: onnx_ir.Value | None) -> tuple[onnx_ir.Value | None, onnx_ir.Node | None]:
    """The constant that an Add behind a MatMul adds, and the Add."""
    node = producer(value, "Add")
    if node is None:
        return None, None
    for product, bias in (node.inputs, tuple(reversed(node.inputs))):
        if producer(product, "MatMul") is not None and bias is not None and (constant(bias) is not None or _whole(bias) is not None):
            return bias, node
    return None, None


def _with_bias(layer: Layer, bias: onnx_ir.Value, product: onnx_ir.Value | None) -> Layer | None:
    """The layer with one number added for each column; None where what is added is of another shape."""
    dims, shape = rank(product), bias.shape
    if product is None or product.shape is None or dims is None or shape is None or not 0 < len(shape) <= dims:
        return None
    columns = product.shape[-1]
    fits = isinstance(columns, int) and shape[-1] == columns and all(dim == 1 for dim in shape[:-1])
    return replace(layer, bias=bias) if fits else None


def _is_inner(values: Sequence[onnx_ir.Value | None], reader: onnx_ir.Node, keep: frozenset[str]) -> bool:
    """True where what a node computes with is read by it alone and made in its graph; its constants do not count."""
    inner = [value for value in values if value is not None and constant(value) is None and _whole(value) is None]
    makers = [value.producer() for value in inner]
    return all(read_once(value, keep) for value in inner) and all(made is not None and made.graph is reader.graph for made in makers)


def _whole(bias: onnx_ir.Value | None) -> onnx_ir.Value | None:
    """The integers of 32 bits behind a dequantized bias."""
    node = producer(bias, "DequantizeLinear")
    found = None if node is None else node.inputs[0]
    return found if found is not None and found.dtype is onnx_ir.DataType.INT32 else None


def _limits(node: onnx_ir.Node) -> dict[str, Keyword] | None:
    """Between which real numbers a Relu or Clip leaves values; None where its bounds are computed."""
    if node.op_type == "Relu":
        return {"least": 0.0}
    found: dict[str, Keyword] = {}
    for name, bound in zip(("least", "most"), node.inputs[1:3], strict=False):
        if bound is None:
            continue
        limit = number(bound)
        if limit is None:
            return None
        found[name] = float(limit)
    return found
