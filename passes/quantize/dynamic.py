"""Products and look-ups with integer weights: `DynamicQuantizeLinear` and `MatMulInteger`, which ONNX Runtime fuses into one kernel.

    y = x W + b   becomes   xq, sx, zx = DynamicQuantizeLinear(x);  y = Cast(MatMulInteger(xq, Wq, zx)) * (sx * sw) + b

with Wq int8 [rows, columns] and sw float32 [columns]. Standard operators only, so that any runtime runs the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.passes.quantize.choice import Dynamic
from netwright.passes.quantize.record import record
from netwright.passes.quantize.rounding.base import Nearest, Rounder
from netwright.passes.quantize.weights import float_array, owner_of

if TYPE_CHECKING:
    from netwright.ir.editor import Editor
    from netwright.passes.quantize.activations import Activations
    from netwright.passes.quantize.sites import Site
    from netwright.passes.quantize.units import Unit


@dataclass(frozen=True, slots=True)
class _Stored:
    """A unit's weight in the graph: int8 as its readers need it, scale float32, [columns] or, of a table, [entries, 1]."""

    values: onnx_ir.Value
    scale: onnx_ir.Value
    is_table: bool


def quantize_dynamic(editor: Editor, unit: Unit, choice: Dynamic, activations: Activations, rounder: Rounder | None = None) -> None:
    """Quantize a unit of products and look-ups; weights to the nearest integers where no rounder is given."""
    stored = _store(editor, unit, choice, rounder or Nearest())
    for site in unit.sites:
        editor.at(site.node)
        result = _look_up(editor, site, stored) if site.kind == "table" else _product(editor, site, stored, choice, activations)
        editor.replace(site.node.outputs[0], result)


def _store(editor: Editor, unit: Unit, choice: Dynamic, rounder: Rounder) -> _Stored:
    """Products alone read [rows, columns], scaled by column; with look-ups among the readers, the table stays as it is, scaled by row."""
    weight, first = unit.weights[0], unit.sites[0]
    data, per_channel = float_array(weight), choice.axis != "tensor"
    graph, name = owner_of(weight), weight.name or "weight"
    by_output = data if unit.tables or first.transposed else data.T
    factors = None if unit.tables else choice.factors(first.rows)
    found = rounder.rows(weight, by_output, bits=choice.bits, factors=factors, per_channel=per_channel)
    values, scale = (found.values, found.scale[:, None]) if unit.tables else (found.values.T, found.scale)
    stored = _Stored(_constant(editor, values, f"{name}.int8", graph), _constant(editor, scale, f"{name}.scale", graph), bool(unit.tables))
    if by_output is data:
        record(editor, weight, stored.values, found.scale, 0, factors=factors, perm=() if unit.tables else (1, 0))
    else:
        record(editor, weight, stored.values, found.scale, 1, factors=None if factors is None else factors[:, None])
    return stored


def _constant(editor: Editor, data: np.ndarray, name: str, graph: onnx_ir.Graph | None) -> onnx_ir.Value:
    return editor.constant(np.ascontiguousarray(data), name, graph=graph)


def _product(editor: Editor, site: Site, stored: _Stored, choice: Dynamic, activations: Activations) -> onnx_ir.Value:
    name, node = site.name, site.node
    integers, scale, zero = activations.quantized(editor, site, choice.outliers)
    weight, weight_scale = stored.values, stored.scale
    if stored.is_table:
        weight = editor.op("Transpose", [weight], {"perm": [1, 0]}, name=f"{weight.name}.turned")
        flat = editor.constant(np.array([-1], np.int64), f"{name}.flat")
        weight_scale = editor.op("Reshape", [weight_scale, flat], name=f"{weight_scale.name}.flat")
    total = editor.op("MatMulInteger", [integers, weight, zero], name=f"{name}.int32")
    total = editor.op("Cast", [total], {"to": int(onnx_ir.DataType.FLOAT)}, name=f"{name}.float")
    alpha = node.attributes.get_float("alpha", 1.0) if node.op_type == "Gemm" else 1.0
    if alpha != 1.0:
        weight_scale = editor.op(
            "Mul", [weight_scale, editor.constant(np.array(alpha, np.float32), f"{name}.alpha")], name=f"{name}.weight_scale"
        )
    both = editor.op("Mul", [scale, weight_scale], name=f"{name}.scale")
    result = editor.op("Mul", [total, both], name=f"{name}.scaled")
    result = as_type(editor, result, node.outputs[0], name)
    return with_bias(editor, site, result)


def _look_up(editor: Editor, site: Site, stored: _Stored) -> onnx_ir.Value:
    name, indices = site.name, site.node.inputs[1]
    integers = editor.op("Gather", [stored.values, indices], {"axis": 0}, name=f"{name}.int8")
    result = editor.op("Cast", [integers], {"to": int(onnx_ir.DataType.FLOAT)}, name=f"{name}.float")
    scale = stored.scale
    if scale.shape is not None and scale.shape[0] != 1:
        scale = editor.op("Gather", [scale, indices], {"axis": 0}, name=f"{name}.scale")
    result = editor.op("Mul", [result, scale], name=f"{name}.scaled")
    return as_type(editor, result, site.node.outputs[0], name)


def as_type(editor: Editor, result: onnx_ir.Value, like: onnx_ir.Value, name: str) -> onnx_ir.Value:
    """A float32 result in the type that the replaced value had."""
    if like.dtype in (None, onnx_ir.DataType.FLOAT):
        return result
    return editor.op("Cast", [result], {"to": int(like.dtype)}, name=f"{name}.cast", like=like)


def with_bias(editor: Editor, site: Site, product: onnx_ir.Value) -> onnx_ir.Value:
    """The product plus a Gemm's `beta * C`."""
    node = site.node
    bias = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None
    beta = node.attributes.get_float("beta", 1.0)
    if bias is None or beta == 0.0:
        return product
    if beta != 1.0:
        dtype = bias.dtype if bias.dtype is not None else onnx_ir.DataType.FLOAT
        factor = editor.constant(np.array(beta, dtype.numpy()), f"{site.name}.beta")
        bias = editor.op("Mul", [bias, factor], name=f"{site.name}.bias")
    return editor.op("Add", [product, bias], name=f"{site.name}.sum", like=node.outputs[0])
