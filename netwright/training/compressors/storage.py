"""Integers with scales in a program: DequantizeLinear in front of layers, integer look-ups for tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Cast, Mapped, Reshape, Same, ValueMap
from netwright.ir.opinfo import subgraphs
from netwright.ir.program import Program
from netwright.training.compressors.sites import WeightSite

INT4_OPSET = 21
"""The first operator set whose DequantizeLinear takes int4."""


def int4_fits(program: Program, site: WeightSite, top: int) -> bool:
    """True where a weight's integers can lie in 4 bits: few enough, an operator set that knows them, and no table among the
    readers (a look-up reads single rows; of packed ones the whole table would be unpacked at every run).
    """
    return top <= 7 and program.opset >= INT4_OPSET and all(reader.kind != "table" for reader in site.readers)


def anchor_of(program: Program, site: WeightSite) -> onnx_ir.Node:
    """The first node of the main graph that reads the weight, itself or in a graph that it holds."""
    uses = {use.node for use in site.value.uses()}
    return next(
        node for node in program.graph if node in uses or any(inner in uses for _, held in subgraphs(node) for inner in held.all_nodes())
    )


def store_integers(editor: Editor, site: WeightSite, codes: np.ndarray, scale: np.ndarray, *, int4: bool) -> None:
    """Put integers in the place of a weight that holds exactly `codes * scale`.

    Table look-ups read rows of integers and their scales; all other readers a DequantizeLinear, which takes the weight's name. A
    scale for each pair of two axes (recurrent layers) is one along both together: the weight is flattened and shaped back.

    Args:
        editor: at the node before which the new ones go.
        site: the weight.
        codes: integers of the weight's shape.
        scale: of the weight's rank, in its type: one number, or one for each row.
        int4: keep them in 4 bits.
    """
    weight, name = site.value, site.name
    dtype = "int4" if int4 else "int8"
    grain = [axis for axis, size in enumerate(scale.shape) if size > 1]
    flat = (int(np.prod(codes.shape[: len(grain)])), *codes.shape[len(grain) :]) if len(grain) > 1 else codes.shape
    axis = 0 if len(grain) > 1 else grain[0] if grain else None
    packed = _packed(codes.reshape(flat), dtype)
    steps = scale.reshape(-1) if axis is not None else scale.reshape(-1)[:1].reshape(())
    values = editor.constant(packed, f"{name}.{dtype}")
    scales = editor.constant(np.ascontiguousarray(steps), f"{name}.scale")
    _record(editor, values, weight, dtype, steps, axis, codes.shape, flat)
    done = _look_ups(editor, site, values, scales, axis)
    if all(use.node in done for use in weight.uses()):
        return
    attributes = {} if axis is None else {"axis": axis}
    result = editor.op("DequantizeLinear", [values, scales], attributes, name=name)
    if flat != codes.shape:
        shape = editor.constant(np.array(codes.shape, np.int64), f"{name}.shape")
        result = editor.op("Reshape", [result, shape], name=name)
    result.type, result.shape = weight.type, weight.shape
    editor.replace(weight, result)
    if not weight.uses():
        editor.remove_initializer(weight)


def _packed(codes: np.ndarray, dtype: str) -> np.ndarray | onnx_ir.TensorProtocol:
    if dtype == "int8":
        return codes.astype(np.int8)
    return onnx_ir.Tensor(codes.astype(np.int8).astype(onnx_ir.DataType.INT4.numpy()), dtype=onnx_ir.DataType.INT4)


def _record(
    editor: Editor,
    values: onnx_ir.Value,
    weight: onnx_ir.Value,
    dtype: str,
    steps: np.ndarray,
    axis: int | None,
    shape: Sequence[int],
    flat: Sequence[int],
) -> None:
    before = weight.dtype.numpy().name if weight.dtype is not None else "float32"
    shaped: ValueMap = Same() if tuple(flat) == tuple(shape) else Reshape(tuple(flat), tuple(shape))
    cast = Cast(dtype, before, float(steps)) if axis is None else Cast(dtype, before, steps.astype(np.float64), axis=axis)
    editor.map(values.name or "", Mapped(shaped.then(cast), (weight.name or "",)))


def _look_ups(editor: Editor, site: WeightSite, values: onnx_ir.Value, scales: onnx_ir.Value, axis: int | None) -> set[onnx_ir.Node]:
    """Let the Gathers that read the weight itself read integers; those replaced."""
    done: set[onnx_ir.Node] = set()
    for reader in site.readers:
        node = reader.node
        if reader.kind != "table" or node.inputs[0] is not site.value or axis not in (None, 0):
            continue
        editor.at(node)
        hint, result = node.outputs[0].name or "rows", node.outputs[0]
        rows = editor.op("Gather", [values, node.inputs[1]], {"axis": 0}, name=f"{hint}.rows")
        floats = editor.op("Cast", [rows], {"to": int(site.value.dtype or onnx_ir.DataType.FLOAT)}, name=f"{hint}.floats", like=result)
        step = scales
        if axis == 0:
            step = editor.op("Gather", [scales, node.inputs[1]], {"axis": 0}, name=f"{hint}.steps")
            last = editor.constant(np.array([-1], np.int64), f"{hint}.last")
            step = editor.op("Unsqueeze", [step, last], name=f"{hint}.scale")
        editor.replace(result, editor.op("Mul", [floats, step], name=hint, like=result))
        done.add(node)
    return done
