"""The masked model: units are made zero where they are made, and nothing else changes. What removal is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir

from netwright.ir.coupling.analysis import Partition, partition_inner, partition_outer
from netwright.ir.coupling.axes import Tracked
from netwright.ir.coupling.group import PRODUCING
from netwright.ir.opinfo import int_attr
from netwright.ir.program import Program, array

_ROLES_OF_HEADS = PRODUCING | {"in"}
"""A query head without queries still looks at everything alike where it shares keys and values: what it says must not be heard either."""


def masked(program: Program, removed: Mapping[str, Sequence[int]]) -> Program:
    """A copy in which units are zero; of experts, their share.

    Args:
        program: the model, which stays as it is.
        removed: for each group the numbers of its units.
    """
    copy = program.clone()
    for partition in (copy.fact(partition_outer), copy.fact(partition_inner)):
        gone = np.zeros(partition.traced.solved.count, dtype=bool)
        for name, units in removed.items():
            if name in partition.groups and len(units):
                gone[partition.units[name][np.asarray(units)]] = True
        if gone.any():
            _zero_weights(copy, partition, gone)
            _close_shares(copy, partition, gone)
    return copy


def _zero_weights(program: Program, partition: Partition, gone: np.ndarray) -> None:
    walk, unit_of = partition.traced.walk, partition.traced.solved.unit_of
    for name, group in partition.groups.items():
        for found, ((value, reader), index) in zip(group.slices, partition.constants[name], strict=True):
            axis = walk.constants[value, reader][index]
            zeroed = _ROLES_OF_HEADS if group.kind == "heads" else PRODUCING
            if found.role not in zeroed or not isinstance(axis, Tracked) or not gone[unit_of[axis.labels]].any():
                continue
            holder = value if reader is None else _held_by(value, reader)
            data = array(holder)
            if data is None:
                continue
            changed = np.moveaxis(data.copy(), index, 0)
            changed[gone[unit_of[axis.labels]]] = 0
            _put(program, holder, value, reader, np.moveaxis(changed, 0, index))


_COPIES = "masked.copy"


def _held_by(value: onnx_ir.Value, reader: onnx_ir.Node) -> onnx_ir.Value:
    """What holds a reader's own copy of a vector: the vector, until it was changed."""
    return next((held for held in reader.inputs if held is not None and held.meta.get(_COPIES) is value), value)


def _put(program: Program, holder: onnx_ir.Value, value: onnx_ir.Value, reader: onnx_ir.Node | None, data: np.ndarray) -> None:
    users = list(dict.fromkeys(use.node for use in holder.uses()))
    with program.edit(at=reader or users[0]) as editor:
        if holder.producer() is None and (reader is None or users == [reader]):
            editor.set_constant(holder, np.ascontiguousarray(data))
            return
        fresh = editor.constant(np.ascontiguousarray(data), holder.name or "weight", graph=holder.graph)
        fresh.meta[_COPIES] = value
        for use in tuple(holder.uses()):
            if reader is None or use.node is reader:
                editor.set_input(use.node, use.idx, fresh)


def _close_shares(program: Program, partition: Partition, gone: np.ndarray) -> None:
    """Units along the axis of a Softmax get no share."""
    walk, unit_of = partition.traced.walk, partition.traced.solved.unit_of
    for node in list(program.nodes("Softmax")):
        x = node.inputs[0]
        axes = walk.values.get(x, ()) if x is not None else ()
        place = int_attr(node, "axis", -1)
        axis = axes[place] if axes else None
        if x is None or not isinstance(axis, Tracked) or not gone[unit_of[axis.labels]].any():
            continue
        dtype = x.dtype.numpy() if x.dtype is not None else np.dtype(np.float32)
        range_of = np.finfo(np.float16 if dtype == np.float16 else np.float32)  # wider types, and bfloat16, reach as far as float32
        least = float(range_of.min) / 2  # half of it, so that a score below zero does not make it infinite
        closed = np.where(gone[unit_of[axis.labels]], least, 0.0).astype(dtype)
        shape = [1] * len(axes)
        shape[place] = len(closed)
        with program.edit(at=node) as editor:
            mask = editor.constant(closed.reshape(shape), "no_share")
            editor.set_input(node, 0, editor.op("Add", [x, mask], like=x))
