"""Operators that end in a scale and a shift per channel, and how to change their parameters.

Folding multiplies or adds into a weight only if that weight is this node's alone: an initializer of rank ≥ 2 with
several readers is a tie and is never folded into; one of rank ≤ 1 with several readers is shared by accident (exporters
merge equal vectors), and this node gets its own copy. Large weights are computed when they are read or saved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Affine, Mapped
from netwright.ir.opinfo import float_attr, has_references, int_attr, is_float
from netwright.ir.program import Program, constant
from netwright.ir.shapes import rank
from netwright.passes.simplify.match import opset_of, readers

_LAZY_ELEMENTS = 1 << 16
"""From how many elements on a new weight is computed only when it is read."""

_CHUNK_ELEMENTS = 1 << 20
"""How many elements are computed at once, in float64."""

_SAFE_FACTOR = 2.0**30
"""Factors up to this, and down to one over it, are taken to keep float32 weights in range without looking at them."""

_LEAST_FLOAT16 = 2.0**-10
"""Mean magnitude below which a scaled float16 weight would lose bits to its smallest normal numbers."""


@dataclass(frozen=True, slots=True)
class Kind:
    """An operator of this sort.

    Attributes:
        weight: index of the input whose channels are scaled.
        bias: index of the input that is added per channel; None where the operator has none.
        channel: axis of the output that counts the channels: 1, or −1.
        since: first opset in which the scale is per channel.
    """

    weight: int
    bias: int | None
    channel: int
    since: int = 0


KINDS: dict[str, Kind] = {
    "Conv": Kind(1, 2, 1),
    "ConvTranspose": Kind(1, 2, 1),
    "Gemm": Kind(1, 2, -1),
    "MatMul": Kind(1, None, -1),
    "BatchNormalization": Kind(1, 2, 1),
    "InstanceNormalization": Kind(1, 2, 1),
    "GroupNormalization": Kind(1, 2, 1, since=21),
    "LayerNormalization": Kind(1, 2, -1),
}
"""What scales and shifts can be folded into."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A node with its channels.

    Attributes:
        node: the node.
        kind: its row in the table.
        channels: number of output channels.
        shape: shape of the weight.
        axis: axis of the weight that counts channels (of a ConvTranspose: those within a group).
    """

    node: onnx_ir.Node
    kind: Kind
    channels: int
    shape: tuple[int, ...]
    axis: int

    @property
    def output(self) -> onnx_ir.Value:
        """The node's result."""
        return self.node.outputs[0]

    def weight_factor(self, factor: np.ndarray) -> np.ndarray:
        """A factor per channel, [channels], shaped to be multiplied with the weight."""
        if self.node.op_type == "ConvTranspose":
            groups = self.channels // self.shape[1]
            rows = np.repeat(factor.reshape(groups, self.shape[1]), self.shape[0] // groups, axis=0)
            return rows.reshape(self.shape[:2] + (1,) * (len(self.shape) - 2))
        dims = [1] * len(self.shape)
        dims[self.axis] = self.channels
        return factor.reshape(dims)

    def has_bias(self) -> bool:
        """Whether the bias input is given."""
        index = self.kind.bias
        return index is not None and index < len(self.node.inputs) and self.node.inputs[index] is not None


def linear(node: onnx_ir.Node | None, program: Program) -> Linear | None:
    """The node as one of `KINDS`, if its weight is a constant with a plain channel axis."""
    if node is None or node.domain not in ("", "ai.onnx"):
        return None
    kind = KINDS.get(node.op_type)
    if kind is None or len(node.inputs) <= kind.weight or has_references(node):
        return None
    tensor = constant(node.inputs[kind.weight])
    if tensor is None or not is_float(tensor.dtype):
        return None
    shape = tuple(int(dim) for dim in tensor.shape.numpy())
    if not shape or 0 in shape or (kind.since and opset_of(node, program) < kind.since):
        return None
    channels_axis = _channel_axis(node, shape)
    if channels_axis is None:
        return None
    channels, axis = channels_axis
    return Linear(node, kind, channels, shape, axis)


def _channel_axis(node: onnx_ir.Node, shape: tuple[int, ...]) -> tuple[int, int] | None:
    if node.op_type == "ConvTranspose":
        return (shape[1] * int_attr(node, "group", 1), 1) if len(shape) > 2 else None
    if node.op_type == "Gemm":
        axis = 0 if int_attr(node, "transB", 0) else 1
        return (shape[axis], axis) if len(shape) == 2 else None
    if node.op_type == "MatMul":
        return (shape[1], 1) if len(shape) == 2 else None
    if node.op_type == "Conv":
        return (shape[0], 0) if len(shape) > 2 else None
    if node.op_type == "BatchNormalization" and (int_attr(node, "training_mode", 0) or len(node.outputs) > 1):
        return None
    if node.op_type == "LayerNormalization" and len(node.outputs) > 1:
        return None
    return (shape[0], 0) if len(shape) == 1 else None


def output_rank(found: Linear) -> int | None:
    """Number of dimensions of a linear operator's output, as far as it is known."""
    if found.node.op_type in ("Conv", "ConvTranspose"):
        return len(found.shape)
    return 2 if found.node.op_type == "Gemm" else rank(found.output) or rank(found.node.inputs[0])


def per_channel(value: onnx_ir.Value, found: Linear) -> np.ndarray | None:
    """A constant as one number per channel of a linear operator's output (see `channel_numbers`)."""
    tensor = constant(value)
    last_axis_only = found.kind.channel == -1 and tensor is not None and len(tensor.shape) <= 1
    count = 1 if last_axis_only else output_rank(found)
    return None if count is None else channel_numbers(value, found.channels, found.kind.channel % count, count)


def channel_numbers(value: onnx_ir.Value, channels: int, axis: int, count: int) -> np.ndarray | None:
    """A constant as one number per channel, in float64, shape [channels].

    None where it varies along another axis, or where broadcasting it would change the other operand's shape.

    Args:
        value: the constant.
        channels: size of the channel axis.
        axis: the channel axis of the other operand, counted from the front.
        count: rank of the other operand.
    """
    tensor = constant(value)
    if tensor is None or not is_float(tensor.dtype):
        return None
    dims = tuple(int(dim) for dim in tensor.shape.numpy())
    if len(dims) > count:
        return None
    own = axis - (count - len(dims))
    if any(dim != 1 and index != own for index, dim in enumerate(dims)):
        return None
    size = dims[own] if own >= 0 else 1
    if size not in (1, channels):
        return None
    return np.broadcast_to(tensor.numpy().astype(np.float64).reshape(-1), (channels,)).copy()


# ---- guards -------------------------------------------------------------------------------------------------------


def refusal(found: Linear, program: Program, factor: np.ndarray | None) -> str:
    """Why nothing may be folded into a linear operator; empty where it may.

    Args:
        found: the operator.
        program: where it is.
        factor: what its weight would be multiplied with; None where only the bias changes.
    """
    if "Trainable" in program.properties:
        return "the program is marked Trainable: every parameter stays reachable"
    weight = found.node.inputs[found.kind.weight]
    if factor is not None and weight is not None:
        if reason := _tied(weight):
            return reason
        if reason := _out_of_range(weight, factor):
            return reason
    if not found.has_bias() or found.kind.bias is None:
        return ""
    bias = found.node.inputs[found.kind.bias]
    tensor = constant(bias)
    if bias is None or tensor is None:
        return f"the bias of %{found.output.name} is not constant"
    if tensor.size not in (1, found.channels) or (tensor.size > 1 and int(tensor.shape.numpy()[-1]) != found.channels):
        return f"the bias %{bias.name} of shape {list(tensor.shape.numpy())} is not one number for each of {found.channels} channels"
    return _tied(bias)


def _tied(value: onnx_ir.Value) -> str:
    tensor = constant(value)
    if tensor is not None and len(tensor.shape) >= 2 and (len(value.uses()) > 1 or value.is_graph_output()):
        return f"the weight is tied: {readers(value)}"
    return ""


def _out_of_range(weight: onnx_ir.Value, factor: np.ndarray) -> str:
    if not np.isfinite(factor).all():
        return "the factor is not finite"
    magnitudes = np.abs(factor[factor != 0])
    if not magnitudes.size:
        return ""
    tensor = constant(weight)
    if tensor is None:
        return ""
    high, low = float(magnitudes.max()), float(magnitudes.min())
    narrow = tensor.dtype == onnx_ir.DataType.FLOAT16
    if not narrow and high <= _SAFE_FACTOR and low >= 1.0 / _SAFE_FACTOR:
        return ""
    numbers = np.abs(tensor.numpy().astype(np.float64))
    most = float(np.finfo(np.float16 if narrow else np.float32).max)
    if numbers.max(initial=0.0) * high > most:
        return f"the weight %{weight.name} times {high:g} exceeds {most:g}"
    if numbers.mean() * low < (_LEAST_FLOAT16 if narrow else float(np.finfo(np.float32).tiny)):
        return f"the weight %{weight.name} times {low:g} would lose precision"
    return ""


# ---- changes ------------------------------------------------------------------------------------------------------

Change = Callable[[np.ndarray, slice], np.ndarray]
"""New numbers (float64) from old ones, for a slice of rows along the first axis."""


def scale(editor: Editor, found: Linear, factor: np.ndarray) -> None:
    """Multiply a linear operator's output by `factor`, [channels], through its parameters."""
    shaped = found.weight_factor(factor)
    multiply(editor, found.node, found.kind.weight, shaped)
    if found.kind.bias is not None and found.has_bias():
        _spread_bias(editor, found)
        multiply(editor, found.node, found.kind.bias, factor)


def multiply(editor: Editor, node: onnx_ir.Node, index: int, factor: np.ndarray) -> None:
    """Multiply a node's constant input by a factor that broadcasts to it without changing its shape."""

    def change(numbers: np.ndarray, rows: slice) -> np.ndarray:
        return numbers * (factor[rows] if factor.ndim == numbers.ndim and factor.shape[0] > 1 else factor)

    change_parameter(editor, node, index, change, Affine(scale=factor))


def shift(editor: Editor, found: Linear, summand: np.ndarray) -> None:
    """Add `summand`, [channels], to a linear operator's output, through its bias."""
    index, node = found.kind.bias, found.node
    if index is None:
        return
    beta = float_attr(node, "beta", 1.0) if node.op_type == "Gemm" else 1.0
    if not found.has_bias() or beta == 0.0:
        weight = constant(node.inputs[found.kind.weight])
        dtype = weight.dtype.numpy() if weight is not None else np.dtype(np.float32)
        if len(node.inputs) <= index:
            editor.resize_inputs(node, index + 1)
        if beta != 1.0:
            editor.set_attribute(node, "beta", 1.0)
        editor.set_input(node, index, editor.at(node).constant(summand.astype(dtype), f"{found.output.name}.bias"))
        return
    _spread_bias(editor, found)
    added = summand / beta
    change_parameter(editor, node, index, lambda numbers, _: numbers + added, Affine(shift=added))


def _spread_bias(editor: Editor, found: Linear) -> None:
    """Where one number is the bias of all channels (Gemm allows it), write it out for each."""
    index = found.kind.bias
    tensor = constant(found.node.inputs[index]) if index is not None else None
    if index is None or tensor is None or tensor.size == found.channels:
        return
    numbers = np.broadcast_to(tensor.numpy().reshape(-1), (found.channels,)).copy()
    editor.set_input(found.node, index, editor.at(found.node).constant(numbers, f"{found.output.name}.bias"))


def change_parameter(editor: Editor, node: onnx_ir.Node, index: int, change: Change, mapped: Affine) -> None:
    """Give a node's constant input new contents: in place if the node is its only reader, else as a new constant."""
    value = node.inputs[index]
    tensor = constant(value)
    if value is None or tensor is None:
        return
    source, made = value.name or "", computed(tensor, change)
    if value.is_initializer() and len(value.uses()) == 1 and not value.is_graph_output():
        editor.set_constant(value, made)
        editor.map(source, Mapped(mapped, (source,)))
        return
    fresh = editor.at(node).constant(made, source or f"{node.outputs[0].name}.parameter")
    editor.set_input(node, index, fresh)
    editor.map(fresh.name or "", Mapped(mapped, (source,)))


def computed(tensor: onnx_ir.TensorProtocol, change: Change) -> onnx_ir.TensorProtocol:
    """A tensor of the same shape, type and metadata with changed numbers; a large one is computed when it is read."""
    kept = dict(tensor.metadata_props)

    def compute() -> onnx_ir.TensorProtocol:
        old = tensor.numpy()
        new = np.empty_like(old)
        rows = old.shape[0] if old.ndim else 0
        step = max(1, _CHUNK_ELEMENTS * rows // max(1, old.size))
        for start in range(0, rows, step):
            some = slice(start, min(rows, start + step))
            new[some] = change(old[some].astype(np.float64), some).astype(old.dtype)
        if not old.ndim:
            new[...] = change(old.astype(np.float64), slice(0, 1)).reshape(()).astype(old.dtype)
        return onnx_ir.Tensor(new, dtype=tensor.dtype, name=tensor.name, metadata_props=kept)

    if tensor.size < _LAZY_ELEMENTS:
        return compute()
    shape = onnx_ir.Shape([int(dim) for dim in tensor.shape.numpy()])
    return onnx_ir.LazyTensor(compute, tensor.dtype, shape, name=tensor.name, metadata_props=kept)
