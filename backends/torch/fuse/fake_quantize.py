"""Layers between quantizers: `Q(relu(conv(DQ(x), DQ(w)) + b))`, as static quantization writes them, in one call.

The call computes what the integer kernel computes that takes the place of the layer when the program is folded. What is recognised:
Conv, Gemm and MatMul of two dequantized operands, the second perhaps with a scale for each output channel; a bias that is a constant, or
integers of 32 bits that are dequantized; Relu or Clip before the quantizer. Nothing matches in which a value between product and
quantizer has another reader, is an output, or is to be kept. Who else reads a dequantized operand does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx_ir

from netwright.backends.torch.attributes import plain
from netwright.backends.torch.fuse.pattern import rank, read_once
from netwright.backends.torch.fuse.scalars import number
from netwright.ir.opinfo import float_attr, int_attr
from netwright.ir.program import Program, constant
from netwright.passes.simplify.match import producer

Keyword = bool | int | float | str | tuple[int, ...] | None

_CONV = ("auto_pad", "dilations", "group", "pads", "strides")


@dataclass(frozen=True, slots=True)
class QuantizedMatch:
    """One layer between quantizers.

    Attributes:
        root: the QuantizeLinear behind it.
        nodes: all nodes that one call replaces, the root included.
        convolves: a convolution, else a product.
        inputs: what the call takes as tensors, in order.
        keywords: what it takes by name.
    """

    root: onnx_ir.Node
    nodes: tuple[onnx_ir.Node, ...]
    convolves: bool
    inputs: tuple[onnx_ir.Value | None, ...]
    keywords: Mapping[str, Keyword]


@dataclass(frozen=True, slots=True)
class _Operand:
    """A dequantized value: its integers, their scale and zero point, and the axis of the scale (None where there is one for all)."""

    integers: onnx_ir.Value
    scale: onnx_ir.Value
    zero: onnx_ir.Value | None
    axis: int | None


@dataclass(frozen=True, slots=True)
class _Layer:
    x: _Operand
    w: _Operand
    bias: onnx_ir.Value | None
    keywords: Mapping[str, Keyword]


def find_quantized(program: Program, keep: frozenset[str]) -> list[QuantizedMatch]:
    """All layers between quantizers, in graph order. Linear in quantizers.

    Args:
        program: read only; shapes and types inferred.
        keep: names of values that must be computed.
    """
    found = (_match(node, keep) for node in program.nodes("QuantizeLinear", domain=""))
    return [match for match in found if match is not None]


def _match(root: onnx_ir.Node, keep: frozenset[str]) -> QuantizedMatch | None:
    made, scale = root.outputs[0].dtype, root.inputs[1]
    zero = root.inputs[2] if len(root.inputs) > 2 else None
    if made is None or not made.is_integer() or scale is None or not is_single(scale) or "precision" in root.attributes:
        return None
    nodes, bounds = [root], dict[str, Keyword]()
    value = root.inputs[0]
    activation = producer(value, "Relu", "Clip")
    if activation is not None:
        limits = _limits(activation)
        if limits is None or value is None or not _is_inner(value, root, keep):
            return None
        bounds, value = limits, activation.inputs[0]
        nodes.append(activation)
    added, adding = _added(value)
    if adding is not None and value is not None:
        if not _is_inner(value, nodes[-1], keep):
            return None
        nodes.append(adding)
        value = next((given for given in adding.inputs if given is not added), None)
    layer = producer(value, *_LAYERS)
    if layer is None or value is None or not _is_inner(value, nodes[-1], keep):
        return None
    found = _LAYERS[layer.op_type](layer)
    if found is not None and added is not None:
        found = _with_bias(found, added, value)
    if found is None or any(one.scale.dtype is not onnx_ir.DataType.FLOAT for one in (found.x, found.w)):
        return None
    whole = None if found.bias is None else _whole(found.bias)
    bias = whole or found.bias
    if found.bias is not None and whole is None and constant(found.bias) is None:
        return None
    x, w = found.x, found.w
    inputs = (x.integers, x.scale, x.zero, w.integers, w.scale, w.zero, scale, zero) + (() if bias is None else (bias,))
    keywords = {"code": int(made), **found.keywords, **bounds, **({"whole_bias": True} if whole is not None else {})}
    return QuantizedMatch(root, (*reversed([*nodes, layer]),), layer.op_type == "Conv", inputs, keywords)


def _added(value: onnx_ir.Value | None) -> tuple[onnx_ir.Value | None, onnx_ir.Node | None]:
    """The constant that an Add behind a MatMul adds, and the Add."""
    node = producer(value, "Add")
    if node is None:
        return None, None
    for product, bias in (node.inputs, tuple(reversed(node.inputs))):
        if producer(product, "MatMul") is not None and bias is not None and (constant(bias) is not None or _whole(bias) is not None):
            return bias, node
    return None, None


def _with_bias(layer: _Layer, bias: onnx_ir.Value, product: onnx_ir.Value) -> _Layer | None:
    """The layer with one number added for each column; None where what is added is of another shape."""
    dims, shape = rank(product), bias.shape
    if dims is None or shape is None or len(shape) > dims or len(shape) == 0 or any(dim != 1 for dim in shape[:-1]):
        return None
    columns = product.shape[-1] if product.shape is not None else None
    return replace(layer, bias=bias) if isinstance(columns, int) and shape[-1] == columns else None


# ---- the three kinds of layer --------------------------------------------------------------------------------------


def _convolution(node: onnx_ir.Node) -> _Layer | None:
    x, w = _operand(node.inputs[0]), _operand(node.inputs[1])
    if x is None or w is None or x.axis is not None or w.axis not in (None, 0):
        return None
    given = {name: plain(node.attributes[name]) for name in _CONV if name in node.attributes}
    keywords = {name: value for name, value in given.items() if isinstance(value, str | int | tuple)}
    return _Layer(x, w, node.inputs[2] if len(node.inputs) > 2 else None, keywords)  # pyright: ignore[reportArgumentType]


def _gemm(node: onnx_ir.Node) -> _Layer | None:
    x, w = _operand(node.inputs[0]), _operand(node.inputs[1])
    transposed = bool(int_attr(node, "transB", 0))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if x is None or w is None or x.axis is not None or w.axis not in (None, 0 if transposed else 1) or int_attr(node, "transA", 0):
        return None
    if float_attr(node, "alpha", 1.0) != 1.0 or float_attr(node, "beta", 1.0) != 1.0 or (bias is not None and rank(bias) != 1):
        return None
    return _Layer(x, w, bias, {"transposed": transposed})


def _product(node: onnx_ir.Node) -> _Layer | None:
    x, w = _operand(node.inputs[0]), _operand(node.inputs[1])
    last = (rank(node.inputs[1]) or 0) - 1
    if x is None or w is None or x.axis is not None or last < 1 or w.axis not in (None, last):
        return None
    return _Layer(x, w, None, {})


_LAYERS = {"Conv": _convolution, "Gemm": _gemm, "MatMul": _product}


# ---- small questions -----------------------------------------------------------------------------------------------


def _operand(value: onnx_ir.Value | None) -> _Operand | None:
    """What a DequantizeLinear makes real, without blocks."""
    node = producer(value, "DequantizeLinear")
    if node is None or value is None or int_attr(node, "block_size", 0):
        return None
    integers, scale = node.inputs[0], node.inputs[1]
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    dims = rank(value)
    if integers is None or scale is None or dims is None or integers.dtype is None or not integers.dtype.is_integer():
        return None
    if is_single(scale):
        return _Operand(integers, scale, zero, None)
    return _Operand(integers, scale, zero, int_attr(node, "axis", 1) % dims) if rank(scale) == 1 else None


def is_single(value: onnx_ir.Value) -> bool:
    """True of a value of one element."""
    return value.shape is not None and all(dim == 1 for dim in value.shape)


def _is_inner(value: onnx_ir.Value, reader: onnx_ir.Node, keep: frozenset[str]) -> bool:
    """True of a value that nothing but one node of the same graph reads."""
    made = value.producer()
    return read_once(value, keep) and made is not None and made.graph is reader.graph


def _whole(bias: onnx_ir.Value) -> onnx_ir.Value | None:
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
