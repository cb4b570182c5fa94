"""The root of a mean of squares: what LayerNormalization and RMSNormalization divide by, in its spellings."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir

from netwright.ir.shapes import static_shape
from netwright.passes.simplify.match import close_to, dims_of, is_parameter, producer, reader, reduced_axes, scalar

_FLOAT32 = 1
"""`stash_type` of a normalisation that is computed in float32 (onnx's number for the type)."""


@dataclass(frozen=True, slots=True)
class RootMeanSquare:
    """`sqrt(mean(source²) + epsilon)`, or one over it.

    Attributes:
        source: what is squared.
        epsilon: what is added to the mean.
        axes: over which the mean is taken, as written.
        nodes: the nodes that compute it.
        inverse: True where the value is one over the root.
    """

    source: onnx_ir.Value
    epsilon: float
    axes: tuple[int, ...]
    nodes: tuple[onnx_ir.Node, ...]
    inverse: bool


def root_mean_square(value: onnx_ir.Value | None) -> RootMeanSquare | None:
    """Match `Sqrt(Add(ReduceMean(x·x), ε))`, its reciprocal, and the spellings with Pow."""
    node = producer(value, "Sqrt", "Reciprocal", "Div", "Pow")
    if node is None:
        return None
    if node.op_type in ("Reciprocal", "Div"):
        inner = node.inputs[0] if node.op_type == "Reciprocal" else node.inputs[1]
        if node.op_type == "Div" and not close_to(scalar(node.inputs[0], inner), 1.0, 0.0):
            return None
        found = root_mean_square(inner) if producer(inner, "Sqrt", "Pow") is not None else None
        return (
            None if found is None or found.inverse else RootMeanSquare(found.source, found.epsilon, found.axes, (*found.nodes, node), True)
        )
    power = 0.5 if node.op_type == "Sqrt" else scalar(node.inputs[1], node.inputs[0])
    if power not in (0.5, -0.5):
        return None
    return _biased_mean(node, inverse=power < 0)


def _biased_mean(root: onnx_ir.Node, *, inverse: bool) -> RootMeanSquare | None:
    total = producer(root.inputs[0], "Add")
    if total is None:
        return None
    left, right = total.inputs
    mean, epsilon = producer(left, "ReduceMean"), scalar(right, left)
    if mean is None or epsilon is None:
        mean, epsilon = producer(right, "ReduceMean"), scalar(left, right)
    if mean is None or epsilon is None or not 0.0 <= epsilon < 1.0:
        return None
    axes, square = reduced_axes(mean), producer(mean.inputs[0], "Pow", "Mul")
    if axes is None or square is None:
        return None
    source, other = square.inputs
    if source is None:
        return None
    squares = other is source if square.op_type == "Mul" else close_to(scalar(other, source), 2.0, 0.0)
    return RootMeanSquare(source, epsilon, axes, (square, mean, total, root), inverse) if squares else None


def mean_of(value: onnx_ir.Value | None, source: onnx_ir.Value | None, axes: tuple[int, ...]) -> onnx_ir.Node | None:
    """The ReduceMean that makes `value` of `source` over the same axes, if that is what makes it."""
    node = producer(value, "ReduceMean")
    return node if node is not None and node.inputs[0] is source and reduced_axes(node) == axes else None


@dataclass(frozen=True, slots=True)
class Normalised:
    """What stands around the core of a normalisation: casts before and after, scale and bias after.

    Attributes:
        source: what is normalised, before its cast to a wider type.
        scale: the factor, of exactly the normalised shape.
        bias: the summand, likewise.
        last: the node whose output the fused operator replaces.
        nodes: the nodes found around the core, `last` included.
        shape: sizes of the normalised axes.
        stash: `stash_type` of the fused operator.
    """

    source: onnx_ir.Value
    scale: onnx_ir.Value | None
    bias: onnx_ir.Value | None
    last: onnx_ir.Node
    nodes: tuple[onnx_ir.Node, ...]
    shape: tuple[int, ...]
    stash: int


def surroundings(core: onnx_ir.Node, source: onnx_ir.Value, axis: int, *, with_bias: bool) -> Normalised | None:
    """Look from the core's last node for a cast back, a scale and a bias.

    Args:
        core: the node that makes the normalised value.
        source: what the core normalises.
        axis: the first normalised axis, negative.
        with_bias: whether the fused operator takes a bias.

    Returns:
        None where the sizes of the normalised axes are not known.
    """
    dims = dims_of(source)
    if dims is None or len(dims) < -axis:
        return None
    shape = tuple(dim for dim in dims[axis:] if isinstance(dim, int))
    if len(shape) != -axis:
        return None
    last, nodes, stash = core, [core], _FLOAT32 if source.dtype != onnx_ir.DataType.DOUBLE else int(onnx_ir.DataType.DOUBLE)
    widened = producer(source, "Cast")
    narrowed = reader(core.outputs[0], "Cast")
    if widened is not None and narrowed is not None and source.dtype == onnx_ir.DataType.FLOAT:
        narrow = widened.inputs[0]
        if (
            narrow is not None
            and narrow.dtype in (onnx_ir.DataType.FLOAT16, onnx_ir.DataType.BFLOAT16)
            and _casts_to(narrowed, narrow.dtype)
        ):
            source, last = narrow, narrowed
            nodes += [narrowed]
    scale = bias = None
    scaled = reader(last.outputs[0], "Mul")
    if scaled is not None and (scale := _parameter(scaled, last.outputs[0], shape)) is not None:
        last = scaled
        nodes.append(scaled)
        shifted = reader(last.outputs[0], "Add") if with_bias else None
        if shifted is not None and (bias := _parameter(shifted, last.outputs[0], shape)) is not None:
            last = shifted
            nodes.append(shifted)
    return Normalised(source, scale, bias, last, tuple(nodes), shape, stash)


def _casts_to(node: onnx_ir.Node, dtype: onnx_ir.DataType | None) -> bool:
    return dtype is not None and "to" in node.attributes and node.attributes["to"].as_int() == int(dtype)


def _parameter(node: onnx_ir.Node, value: onnx_ir.Value, shape: tuple[int, ...]) -> onnx_ir.Value | None:
    left, right = node.inputs
    found = right if left is value else left
    if found is None or found is value or not is_parameter(found) or found.dtype != value.dtype:
        return None
    return found if static_shape(found) == shape else None
