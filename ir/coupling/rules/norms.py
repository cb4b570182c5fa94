"""Norms: over a batch or an instance each channel is on its own; over channels, leaving some out changes the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.coupling.axes import ONE, Axis, Fixed, Tracked
from netwright.ir.coupling.rules.table import given, needed, rule, where
from netwright.ir.opinfo import int_attr

if TYPE_CHECKING:
    from netwright.ir.coupling.group import Role
    from netwright.ir.coupling.walk import Walk

_BATCH_ROLES: tuple[Role, ...] = ("scale", "shift", "other", "other")


@rule("BatchNormalization", "InstanceNormalization")
def batch_norm(walk: Walk, node: onnx_ir.Node) -> None:
    """One scale, shift, mean and variance for each channel."""
    x = needed(node)
    axes = list(walk.axes(x, node))
    for value, role in zip(node.inputs[1:5], _BATCH_ROLES, strict=False):
        if value is not None:
            axes[1] = walk.join((axes[1], walk.axes(value, node)[0]))
            walk.use(value, 0, role, node)
    walk.set(node.outputs[0], axes)
    for output in node.outputs[1:]:
        walk.set(output, (axes[1],))


@rule("LayerNormalization", "RMSNormalization")
def layer_norm(walk: Walk, node: onnx_ir.Node) -> None:
    """Mean and variance over the last axes; of an RMS norm over one axis the mean square can be mended by its epsilon and scale."""
    normalise(walk, node, exact=node.op_type == "RMSNormalization")


@rule("SimplifiedLayerNormalization")
def contrib_rms_norm(walk: Walk, node: onnx_ir.Node) -> None:
    """An RMS norm, as ONNX Runtime writes it."""
    normalise(walk, node, exact=True)


def normalise(walk: Walk, node: onnx_ir.Node, *, exact: bool) -> None:
    """Norms over the axes from `axis` on."""
    x = needed(node)
    axes = list(walk.axes(x, node))
    first = int_attr(node, "axis", -1) % len(axes)
    over = [index for index in range(first, len(axes)) if axes[index] is not ONE]
    for index in over:
        if not exact or len(over) > 1:
            walk.inexact(axes[index], f"{where(node)} takes a mean over it, which changes when units go")
    for number, role in ((1, "scale"), (2, "shift")):
        value = given(node, number)
        if value is None:
            continue
        mine = walk.axes(value, node)
        for index, axis in enumerate(mine):
            place = len(axes) - len(mine) + index
            if axis is not ONE:
                axes[place] = walk.join((axes[place], axis))
                walk.use(value, index, "scale" if role == "scale" else "shift", node)
    walk.set(node.outputs[0], axes)
    for output in node.outputs[1:]:
        walk.set(output, [*axes[:first], *(ONE for _ in axes[first:])])


@rule("GroupNormalization", domain="")
def group_norm(walk: Walk, node: onnx_ir.Node) -> None:
    """Mean and variance over the channels of a group: whole groups go exactly, channels in each group only roughly."""
    x = needed(node)
    axes = list(walk.axes(x, node))
    groups, channels = int_attr(node, "num_groups", 1), axes[1]
    scale = given(node, 1)
    if (
        not isinstance(channels, Tracked)
        or not channels.plain
        or (scale is not None and scale.shape and scale.shape[0] != len(channels.labels))
    ):
        walk.freeze(axes, f"{where(node)}: its channels cannot be told apart")
        axes = [Fixed(f"{where(node)}: its channels cannot be told apart"), *axes[1:]]
    else:
        table = channels.labels.reshape(groups, -1)
        if walk.mode == "outer" or table.shape[1] == 1:
            walk.units.tie(table, table[:, :1])
        else:
            walk.units.tie(table, table[:1])
            walk.inexact(channels, f"{where(node)} takes a mean over the channels of each group")
        for number, role in ((1, "scale"), (2, "shift")):
            value = given(node, number)
            if value is not None:
                walk.join((channels, walk.axes(value, node)[0]))
                walk.use(value, 0, "scale" if role == "scale" else "shift", node)
    walk.set(node.outputs[0], axes)


@rule("LpNormalization")
def lp_norm(walk: Walk, node: onnx_ir.Node) -> None:
    """A norm over an axis: zeros add nothing to it."""
    _same(walk, node)


@rule("MeanVarianceNormalization")
def mean_variance(walk: Walk, node: onnx_ir.Node) -> None:
    """Over batch and space by default."""
    from netwright.ir.opinfo import ints_attr

    x = node.inputs[0]
    if x is not None:
        axes = walk.axes(x, node)
        for index in ints_attr(node, "axes") or [0, 2, 3]:
            walk.inexact(axes[index], f"{where(node)} takes a mean over it")
    _same(walk, node)


@rule("LRN")
def local_response(walk: Walk, node: onnx_ir.Node) -> None:
    """Channels beside each other."""
    x = node.inputs[0]
    axes: list[Axis] = [] if x is None else list(walk.axes(x, node))
    walk.freeze(axes[1:2], f"{where(node)} mixes neighbouring channels")
    walk.set(node.outputs[0], axes)


def _same(walk: Walk, node: onnx_ir.Node) -> None:
    x = node.inputs[0]
    if x is not None:
        walk.set(node.outputs[0], walk.axes(x, node))
