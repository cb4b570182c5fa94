"""Lowering of arithmetic on sizes: nodes whose operands are Python numbers become Python arithmetic, or are done at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import onnx_ir

from netwright.backends.torch import host
from netwright.backends.torch.attributes import Plain, plain
from netwright.backends.torch.held import Literal, OnHost

if TYPE_CHECKING:
    from netwright.backends.torch.builder import Argument, GraphBuilder

_COMPARISONS = frozenset({"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Not", "And", "Or"})
_FIRST_TYPED = frozenset(
    {"Gather", "Slice", "Reshape", "Squeeze", "Unsqueeze", "Split", "Expand", "ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin"}
)
_BY_RANK = frozenset({"Unsqueeze", "Squeeze", "Reshape", "Gather", "Slice", "Split", "Concat"})
_FILLS = frozenset({"ConstantOfShape", "Expand"})


def lower_on_host(builder: GraphBuilder, node: onnx_ir.Node) -> bool:
    """Lower a node to Python numbers where it is arithmetic on sizes; True if that was possible."""
    if node.domain:
        return False
    if node.op_type in ("Shape", "Size"):
        return _lower_size(builder, node)
    if any(output.shape is not None and len(output.shape) > 1 for output in node.outputs):
        return False
    if node.op_type in ("Cast", "CastLike"):
        return _lower_cast(builder, node)
    function = host.HOST_OPS.get(node.op_type)
    if function is None or not node.inputs:
        return False
    operands = [None if value is None else builder.known(value) for value in node.inputs]
    if any(operand is None and value is not None for operand, value in zip(operands, node.inputs, strict=True)):
        return False
    if not _fits(node, operands):
        return False
    if node.op_type == "ConstantOfShape":
        number, dtype = _fill(node)
        _bind(builder, node, function, operands, {"value": number}, dtype)
        return True
    keywords = {name: plain(attribute) for name, attribute in node.attributes.items()}
    _bind(builder, node, function, operands, keywords, _type(node, operands))
    return True


def _lower_size(builder: GraphBuilder, node: onnx_ir.Node) -> bool:
    """Sizes of a tensor. Those of Python numbers are left to the table's entry."""
    source = node.inputs[0]
    assert source is not None, "the verifier has seen to required inputs"
    if builder.known(source) is not None:
        return False
    keywords = {name: attribute.as_int() for name, attribute in node.attributes.items() if name in ("start", "end")}
    function = host.shape_of if node.op_type == "Shape" else host.size_of
    made = builder.call(function, (builder.carried(source),), keywords, name=node.outputs[0].name or node.op_type)
    builder.annotate(made, node)
    builder.bind(node.outputs[0], OnHost(made, onnx_ir.DataType.INT64))
    return True


def _lower_cast(builder: GraphBuilder, node: onnx_ir.Node) -> bool:
    source = node.inputs[0]
    operand = None if source is None else builder.known(source)
    like = node.inputs[1] if node.op_type == "CastLike" else None
    target = onnx_ir.DataType(node.attributes["to"].as_int()) if like is None else like.dtype
    kind = None if target is None else host.cast_kind(target)
    if operand is None or target is None or kind is None:
        return False
    if kind == host.cast_kind(operand.dtype):
        builder.bind(node.outputs[0], OnHost(operand.value, target))
        return True
    _bind(builder, node, host.cast, [operand], {"kind": kind}, target)
    return True


def _bind(
    builder: GraphBuilder,
    node: onnx_ir.Node,
    function: Callable[..., object],
    operands: Sequence[OnHost | None],
    keywords: Mapping[str, Plain],
    dtype: onnx_ir.DataType,
) -> None:
    """Compute at once what is known, else put the call into the graph."""
    values = [None if operand is None else operand.value for operand in operands]
    several = node.op_type == "Split"
    if all(operand is None or operand.is_literal for operand in operands):
        found = function(*values, **keywords)
        parts = cast("tuple[Literal, ...]", found) if several else (cast("Literal", found),)
        for output, part in zip(node.outputs, parts, strict=True):
            builder.bind(output, OnHost(part, dtype))
        return
    name = node.outputs[0].name or node.op_type
    made = builder.call(function, values, cast("Mapping[str, Argument]", keywords), name=f"{name}_all" if several else name)
    builder.bind_outputs(node, made, lambda value, part: OnHost(part, dtype), several=several)


def _type(node: onnx_ir.Node, operands: Sequence[OnHost | None]) -> onnx_ir.DataType:
    if node.op_type in _COMPARISONS:
        return onnx_ir.DataType.BOOL
    given = [operand.dtype for operand in operands if operand is not None]
    return given[0] if node.op_type in _FIRST_TYPED else given[-1]


def _fill(node: onnx_ir.Node) -> tuple[bool | int | float, onnx_ir.DataType]:
    """What ConstantOfShape repeats."""
    if "value" not in node.attributes:
        return 0.0, onnx_ir.DataType.FLOAT
    tensor = node.attributes["value"].as_tensor()
    return tensor.numpy().reshape(-1)[0].item(), tensor.dtype


def _fits(node: onnx_ir.Node, operands: Sequence[OnHost | None]) -> bool:
    """False where ranks are not those that the host's functions assume, or a constant would be long."""
    if node.op_type in _BY_RANK:
        return all(output.shape is not None for output in node.outputs) and all(
            value is None or value.shape is not None or value.const_value is not None for value in node.inputs
        )
    if node.op_type not in _FILLS:
        return True
    shape = operands[-1]
    if shape is None or not isinstance(shape.value, list) or len(shape.value) > 1:
        return False
    if node.op_type == "ConstantOfShape" and host.cast_kind(_fill(node)[1]) is None:
        return False
    return all(isinstance(size, int) and size <= host.LONGEST_FILL for size in shape.value)
