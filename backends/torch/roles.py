"""Which constants are trained: weights become parameters, settings and statistics stay buffers.

A graph does not say what is a weight. A module that was traced does: its parameters are parameters, its buffers buffers.
Of other constants, floats count as weights unless every reader takes them as a setting (a bound, an exponent, a running
mean, the scale of a quantized operator, which was chosen and which an optimizer of weights would wreck), they are a single
number beside an elementwise operator (a factor, an epsilon), or they mask (hold infinities or numbers below -1e4). In a
traced program those are settings, too, that repeat one number and are no parameter. The scale of a quantizer that is
trained beside float weights is learned, in a way of its own: see `netwright.backends.torch.steps`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import cast

import numpy as np
import onnx_ir

from netwright.backends.torch.steps import is_step
from netwright.backends.torch.stored_scales import scales_stored
from netwright.backends.torch.table import OpEntry, find_entry
from netwright.ir.program import Program, constant

FLOATS = frozenset({onnx_ir.DataType.FLOAT, onnx_ir.DataType.DOUBLE, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.BFLOAT16})
"""Types that torch trains."""

QUANTIZED = frozenset(
    {
        onnx_ir.DataType.INT8,
        onnx_ir.DataType.UINT8,
        onnx_ir.DataType.INT16,
        onnx_ir.DataType.UINT16,
        onnx_ir.DataType.INT4,
        onnx_ir.DataType.UINT4,
        onnx_ir.DataType.INT2,
        onnx_ir.DataType.UINT2,
        onnx_ir.DataType.INT32,
    }
)
"""Types of integer weights."""

_ELEMENTWISE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where", "Mod", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"}
)
_MASKED = -1e4


class Role(Enum):
    """What a constant becomes."""

    PARAMETER = "parameter"
    BUFFER = "buffer"
    LATENT = "latent"
    """A float parameter in the place of integers."""
    STEP = "step"
    """A parameter that moves the step of a quantizer; see `netwright.backends.torch.steps`."""


def role_of(value: onnx_ir.Value, program: Program) -> Role:
    """What an initializer becomes, by its readers and what is known of the module it came from."""
    tensor = constant(value) or value.const_value
    if tensor is None:
        return Role.BUFFER
    name = value.name or ""
    if tensor.dtype in QUANTIZED:
        return Role.LATENT if _is_integer_weight(value, tensor, program) else Role.BUFFER
    if tensor.dtype not in FLOATS:
        return Role.BUFFER
    if is_step(value):
        return Role.STEP
    if name in _known(program, "torch.parameters"):
        return Role.PARAMETER
    if name in _known(program, "torch.buffers"):
        return Role.BUFFER
    if "torch.parameters" in program.resources and _is_uniform(tensor):
        return Role.BUFFER
    return Role.BUFFER if _is_setting(value, tensor, program) else Role.PARAMETER


def entry_of(node: onnx_ir.Node, program: Program) -> OpEntry | None:
    """The table's entry for a node."""
    return find_entry(node.op_type, node.domain, program.model.opset_imports.get(node.domain, 1))


def parameter_name(entry: OpEntry, index: int) -> str:
    """The name of an entry's input at a place; the last one stands for all further ones of a variadic operator."""
    return entry.inputs[min(index, len(entry.inputs) - 1)] if entry.inputs else ""


def _known(program: Program, key: str) -> Mapping[str, object]:
    return cast("Mapping[str, object]", program.resources.get(key, {}))


def _is_integer_weight(value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol, program: Program) -> bool:
    """True where every reader takes carried integers, as something else than a zero point."""
    uses = value.uses()
    return len(tensor.shape) > 0 and bool(uses) and all(_carries(use.node, use.idx, program) for use in uses)


def _carries(node: onnx_ir.Node, index: int, program: Program) -> bool:
    entry = entry_of(node, program)
    name = "" if entry is None else parameter_name(entry, index)
    return entry is not None and name in entry.carries and "zero_point" not in name and name not in entry.frozen


def _is_setting(value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol, program: Program) -> bool:
    if len(tensor.shape) == 0 or not value.uses():
        return True
    if scales_stored(value) or all(_takes_setting(use.node, use.idx, tensor, program) for use in value.uses()):
        return True
    return _masks(tensor) if any(use.node.op_type in ("Add", "Where", "Mul") for use in value.uses()) else False


def _takes_setting(node: onnx_ir.Node, index: int, tensor: onnx_ir.TensorProtocol, program: Program) -> bool:
    if not node.domain and node.op_type in _ELEMENTWISE and tensor.size == 1:
        others = [other for place, other in enumerate(node.inputs) if place != index and other is not None]
        return not any(other.shape is not None and len(other.shape) > 0 and other.shape[-1] == 1 for other in others)
    entry = entry_of(node, program)
    if entry is None:
        return False
    name = parameter_name(entry, index)
    if entry.carries and "scale" in name:
        return True
    return name in entry.frozen or name in entry.host


def _is_uniform(tensor: onnx_ir.TensorProtocol) -> bool:
    """True for one number repeated: what torch's exporter writes, such as the zeros of a bias that the module does not have."""
    array = tensor.numpy().reshape(-1)
    return bool(array.size) and bool((array == array[0]).all())


def _masks(tensor: onnx_ir.TensorProtocol) -> bool:
    if tensor.dtype is onnx_ir.DataType.BFLOAT16 or tensor.size > 1 << 24:
        return False
    array = tensor.numpy()
    return bool(array.size) and bool(np.isinf(array).any() or array.min() <= _MASKED)
