"""Weights alone to integers, in blocks along the input channels: `MatMulNBits` and `GatherBlockQuantized` of ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.schemas import CONTRIB_DOMAIN
from netwright.passes.quantize.choice import BLOCK_SIZES, BlockWise
from netwright.passes.quantize.dynamic import as_type, with_bias
from netwright.passes.quantize.integers import Blocks
from netwright.passes.quantize.record import record_blocks
from netwright.passes.quantize.rounding.base import Nearest, Rounder
from netwright.passes.quantize.storage import store_convolution
from netwright.passes.quantize.weights import float_array, owner_of

if TYPE_CHECKING:
    from netwright.ir.editor import Editor
    from netwright.passes.quantize.sites import Site
    from netwright.passes.quantize.units import Unit

ACCURACY_LEVEL = 4
"""Let `MatMulNBits` quantize activations to int8 by blocks: 768 x 768 at 1 row, 8 bits, runs x2.2 as fast as float with it, x0.13 without;
the error grows from 0.005 to 0.007 of the output."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A unit's weight in the graph; products divide what they multiply by `factors`, [features], first."""

    values: onnx_ir.Value
    scale: onnx_ir.Value
    zero_point: onnx_ir.Value | None
    factors: onnx_ir.Value | None


def quantize_blocks(editor: Editor, unit: Unit, choice: BlockWise, rounder: Rounder | None = None) -> None:
    """Quantize a unit of products and look-ups, or of convolutions; weights to the nearest integers where no rounder is given."""
    if unit.sites[0].kind == "conv":
        store_convolution(editor, unit, choice, rounder or Nearest())
        return
    stored = _store(editor, unit, choice, rounder or Nearest())
    for site in unit.sites:
        editor.at(site.node)
        result = (
            _look_up(editor, site, stored, choice)
            if site.kind == "table"
            else _product(editor, site, stored, choice, shaped=not unit.tables)
        )
        editor.replace(site.node.outputs[0], result)


def fitting_block_size(unit: Unit, wanted: int, bits: int = 4) -> int | None:
    """The largest block size up to `wanted` that suits every reader; None where no size does.

    Products pad their last block. A table has no room for padding, and a table that products read too must hold whole blocks. At 2 bits,
    ONNX Runtime's fast kernel begins at blocks of 32 (768 x 768, 1 row: 16 us; in blocks of 16: 1,005 us).
    """
    width = unit.tables[0].columns if unit.tables else unit.sites[0].rows
    least = 32 if bits == 2 and unit.products else BLOCK_SIZES[0]
    sizes = [size for size in BLOCK_SIZES if least <= size <= max(wanted, least) and (size == least or size < 2 * width)]
    if unit.tables and unit.products:
        sizes = [size for size in sizes if width % size == 0]
    return max(sizes, default=None)


def _store(editor: Editor, unit: Unit, choice: BlockWise, rounder: Rounder) -> _Stored:
    weight, first = unit.weights[0], unit.sites[0]
    data = float_array(weight)
    by_output = data if unit.tables or first.transposed else data.T
    blocks = rounder.blocks(weight, by_output, bits=choice.bits, block_size=choice.block_size, symmetric=choice.symmetric)
    graph, name = owner_of(weight), weight.name or "weight"
    values = _table_layout(blocks, data.shape[1], choice.bits) if unit.tables else blocks.values
    stored = editor.constant(values, f"{name}.int{choice.bits}", graph=graph)
    scale = editor.constant(blocks.scale, f"{name}.scale", graph=graph)
    record_blocks(editor, weight, stored, choice.bits, choice.block_size)
    zero = None if blocks.zero_point is None else editor.constant(blocks.zero_point, f"{name}.zero", graph=graph)
    factors = None if blocks.factors is None else editor.constant((1 / blocks.factors).astype(np.float32), f"{name}.shrink", graph=graph)
    return _Stored(stored, scale, zero, factors)


def _table_layout(blocks: Blocks, width: int, bits: int) -> np.ndarray:
    """[entries, ceil(width * bits / 8)]: the last block's padding cut off."""
    return np.ascontiguousarray(blocks.values.reshape(blocks.values.shape[0], -1)[:, : -(-width * bits // 8)])


def _product(editor: Editor, site: Site, stored: _Stored, choice: BlockWise, *, shaped: bool) -> onnx_ir.Value:
    node, name = site.node, site.name
    source = node.inputs[0]
    assert source is not None
    values = stored.values
    if not shaped:
        blob = [site.columns, site.rows // choice.block_size, choice.block_size * choice.bits // 8]
        values = editor.op("Reshape", [values, editor.constant(np.array(blob, np.int64), f"{name}.blob")], name=f"{name}.blocks")
    is_gemm = node.op_type == "Gemm"
    if is_gemm and node.attributes.get_int("transA", 0) == 1:
        source = editor.op("Transpose", [source], {"perm": [1, 0]}, name=f"{name}.turned")
    if source.dtype not in (None, onnx_ir.DataType.FLOAT):
        source = editor.op("Cast", [source], {"to": int(onnx_ir.DataType.FLOAT)}, name=f"{name}.float")
    if stored.factors is not None:
        source = editor.op("Mul", [source, stored.factors], name=f"{name}.shrunk", like=source)
    attributes = {
        "K": site.rows,
        "N": site.columns,
        "bits": choice.bits,
        "block_size": choice.block_size,
        "accuracy_level": ACCURACY_LEVEL,
    }
    inputs = [source, values, stored.scale, *([stored.zero_point] if stored.zero_point is not None else [])]
    result = editor.op("MatMulNBits", inputs, attributes, domain=CONTRIB_DOMAIN, name=f"{name}.product")
    result.shape, result.type = node.outputs[0].shape, onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
    alpha = node.attributes.get_float("alpha", 1.0) if is_gemm else 1.0
    if alpha != 1.0:
        result = editor.op(
            "Mul", [result, editor.constant(np.array(alpha, np.float32), f"{name}.alpha")], name=f"{name}.scaled", like=result
        )
    return with_bias(editor, site, as_type(editor, result, node.outputs[0], name))


def _look_up(editor: Editor, site: Site, stored: _Stored, choice: BlockWise) -> onnx_ir.Value:
    attributes = {"gather_axis": 0, "quantize_axis": 1, "block_size": choice.block_size, "bits": choice.bits}
    inputs = [stored.values, site.node.inputs[1], stored.scale, *([stored.zero_point] if stored.zero_point is not None else [])]
    result = editor.op("GatherBlockQuantized", inputs, attributes, domain=CONTRIB_DOMAIN, name=f"{site.name}.rows")
    result.shape, result.type = site.node.outputs[0].shape, onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
    return as_type(editor, result, site.node.outputs[0], site.name)
