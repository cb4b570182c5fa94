"""Following an axis through operators that treat each place along it alone: the batch, the rows of a map, what can be cut.

A row of `FOLLOW` and its test add an operator; the rules are in `carrying.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir

from netwright.backends.cim.mapping import carrying
from netwright.backends.cim.mapping.carrying import Axes, Rule
from netwright.backends.cim.program.model import Reach
from netwright.ir.opinfo import ELEMENTWISE, int_attr, ints_attr, str_attr
from netwright.ir.shapes import static_shape

_CONVOLUTIONS = frozenset({"Conv", "ConvInteger", "QLinearConv"})
_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def follow(node: onnx_ir.Node, axes: Axes) -> Axes | None:
    """The axis followed, in each output; None where the node mixes places along it.

    Args:
        node: any node of static shapes.
        axes: the axis in each input; None where an input does not have it.
    """
    if all(axis is None for axis in axes):
        return tuple(None for _ in node.outputs)
    rule = FOLLOW.get(node.op_type)
    return rule(node, axes) if rule is not None else None


def window(node: onnx_ir.Node, axis: int) -> Reach | None:
    """What a row of a pooling, convolution or SpaceToDepth needs along a spatial axis of its first input; None for other operators."""
    kernel = ints_attr(node, "kernel_shape")
    if node.op_type in _CONVOLUTIONS and not kernel:
        weight = static_shape(node.inputs[1])
        kernel = weight[2:] if weight else ()
    if node.op_type == "SpaceToDepth" and axis >= 2:
        block = int_attr(node, "blocksize", 1)
        return Reach(block, block - 1)
    spatial = axis - 2
    if node.op_type not in _CONVOLUTIONS | _POOLS or not 0 <= spatial < len(kernel):
        return None
    ones = (1,) * len(kernel)
    stride, dilation = (ints_attr(node, name, ones)[spatial] for name in ("strides", "dilations"))
    size = static_shape(node.inputs[0])
    if size is None:
        return None
    extent = (kernel[spatial] - 1) * dilation + 1
    before = ints_attr(node, "pads", (0,) * 2 * len(kernel))[spatial]
    automatic = str_attr(node, "auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        total = max(0, (-(-size[axis] // stride) - 1) * stride + extent - size[axis])
        before = total // 2 if automatic == "SAME_UPPER" else total - total // 2
    return Reach(stride, extent - 1 - before, -before)


FOLLOW: Mapping[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, carrying.elementwise),
    **dict.fromkeys(("Cast", "Clip", "Dropout", "Gelu", "Identity", "PRelu"), carrying.elementwise),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), carrying.per_axis),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), carrying.one_axis(-1)),
    "Split": carrying.one_axis(0),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), carrying.normalization),
    **dict.fromkeys(("ArgMax", "ArgMin", *(f"Reduce{kind}" for kind in _REDUCTIONS)), carrying.reduce),
    **dict.fromkeys(("MatMul", "MatMulInteger"), carrying.matmul),
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization"), carrying.spatial(0, 1)
    ),
    **dict.fromkeys(
        ("Conv", "ConvInteger", "ConvTranspose", "QLinearConv", "GroupNormalization", "LRN", "DepthToSpace", "SpaceToDepth"),
        carrying.spatial(0),
    ),
    "CrossbarMatMul": carrying.crossbar,
    "Requantize": carrying.not_last,
    "Im2Col": carrying.spatial(0),
    "BatchNormalization": carrying.batch_norm,
    "Concat": carrying.concat,
    "Einsum": carrying.einsum,
    "Expand": carrying.expand,
    "Flatten": carrying.reshape,
    "Gather": carrying.gather,
    "Gemm": carrying.gemm,
    "Pad": carrying.pad,
    "Reshape": carrying.reshape,
    "Resize": carrying.resize,
    "Slice": carrying.slice,
    "Squeeze": carrying.squeeze,
    "Tile": carrying.tile,
    "Transpose": carrying.transpose,
    "Unsqueeze": carrying.unsqueeze,
}
"""Operator → how it carries an axis."""
