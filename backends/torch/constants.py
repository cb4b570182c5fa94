"""Lowering of constants: weights become parameters, small integers Python numbers, the rest buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import onnx_ir

from netwright.backends.torch import carrying, host
from netwright.backends.torch.attributes import plain
from netwright.backends.torch.dtypes import to_tensor
from netwright.backends.torch.held import Carried, Held, InTensor, Literal, OnHost
from netwright.backends.torch.ops.quantized import requantize
from netwright.backends.torch.roles import Role, role_of
from netwright.backends.torch.steps import gradient_factor, step
from netwright.ir.errors import NetwrightError, UnsupportedModelError
from netwright.ir.opinfo import site

if TYPE_CHECKING:
    from netwright.backends.torch.builder import GraphBuilder


def lower_initializer(builder: GraphBuilder, value: onnx_ir.Value) -> Held:
    """An initializer in the form that suits what it is.

    Raises:
        NetwrightError: nothing makes the value.
    """
    if value.const_value is None:
        raise NetwrightError(f"Nothing makes the value %{value.name}.", place=value.name)
    role = _role(builder, value)
    if role is Role.LATENT and builder.settings.trainable:
        return _latent(builder, value)
    if role is Role.STEP and builder.settings.trainable:
        return _step(builder, value)
    known = literal(builder, value)
    if known is not None and not isinstance(known.value, list) and known.dtype.is_integer():
        return known
    return InTensor(builder.get(builder.bank.add(value, role if role is Role.PARAMETER else Role.BUFFER)))


def literal(builder: GraphBuilder, value: onnx_ir.Value) -> OnHost | None:
    """The numbers of a small constant that is no weight."""
    if not value.is_initializer() or value.is_graph_input():
        return None
    tensor = value.const_value
    if tensor is None or len(tensor.shape) > 1 or host.cast_kind(tensor.dtype) is None:
        return None
    if tensor.size > (host.LONGEST_FILL if _is_bias(value) else host.LARGEST):
        return None
    if host.cast_kind(tensor.dtype) == "float" and _role(builder, value) in (Role.PARAMETER, Role.STEP):
        return None
    return OnHost(cast("Literal", tensor.numpy().tolist()), tensor.dtype)


def lower_constant_node(builder: GraphBuilder, node: onnx_ir.Node) -> None:
    """Lower a Constant node; those of models are lifted to initializers on load, those in definitions of operators stay.

    Raises:
        UnsupportedModelError: it holds strings.
    """
    for name, attribute in node.attributes.items():
        if attribute.type == onnx_ir.AttributeType.TENSOR:
            builder.bind(node.outputs[0], _of_tensor(builder, attribute.as_tensor(), node))
            return
        if name in ("value_int", "value_ints", "value_float", "value_floats"):
            dtype = onnx_ir.DataType.FLOAT if name.startswith("value_float") else onnx_ir.DataType.INT64
            value = plain(attribute)
            builder.bind(node.outputs[0], OnHost(cast("Literal", list(value) if isinstance(value, tuple) else value), dtype))
            return
    raise UnsupportedModelError("torch has no tensors of strings.", place=site(node))


def _of_tensor(builder: GraphBuilder, tensor: onnx_ir.TensorProtocol, node: onnx_ir.Node) -> Held:
    if len(tensor.shape) <= 1 and tensor.size <= host.LARGEST and host.cast_kind(tensor.dtype) is not None:
        return OnHost(cast("Literal", tensor.numpy().tolist()), tensor.dtype)
    return InTensor(builder.get(builder.bank.add_constant(site(node), to_tensor(tensor.numpy()).clone())))


def _role(builder: GraphBuilder, value: onnx_ir.Value) -> Role:
    return role_of(value, builder.program) if value.name in builder.settings.weights else Role.BUFFER


def _is_bias(value: onnx_ir.Value) -> bool:
    return all(use.node.op_type in ("Conv", "ConvTranspose") and use.idx == 2 for use in value.uses())


def _step(builder: GraphBuilder, value: onnx_ir.Value) -> Held:
    """The step of a quantizer, as its parameter has it now."""
    change, first = (builder.get(path) for path in builder.bank.add_step(value))
    return InTensor(builder.call(step, (change, first), {"factor": gradient_factor(value)}, name=f"{value.name}_step"))


def _latent(builder: GraphBuilder, value: onnx_ir.Value) -> Held:
    """Integer weights as the rounding of trained floats: in real units where a DequantizeLinear says what they stand for."""
    assert value.const_value is not None, "the role says that it is a weight"
    use = next(iter(value.uses()))
    latent, real = carrying.latent_of(value, use.node)
    node = builder.get(builder.bank.add(value, Role.LATENT, latent, real))
    name = f"{value.name}_rounded"
    if latent.scale is None:
        made = builder.call(carrying.round_latent, (node,), {"unit": latent.unit, "low": latent.low, "high": latent.high}, name=name)
        return Carried(made, value.const_value.dtype)
    scale, zero = use.node.inputs[1], use.node.inputs[2] if len(use.node.inputs) > 2 else None
    assert scale is not None, "a latent weight in real units has a scale"
    args = (node, builder.tensor(scale), None if zero is None else builder.tensor(zero))
    keywords = {"axis": latent.axis, "block_size": latent.block_size, "low": latent.low, "high": latent.high}
    return Carried(builder.call(requantize, args, keywords, name=name), value.const_value.dtype)
