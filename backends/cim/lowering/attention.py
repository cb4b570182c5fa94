"""Products of two values of the input, as of attention: the right one is written to arrays, for every sample.

With zero points zx and zw, K rows, and what arrays sum, S = Σ_k x·w:

    Σ_k (x − zx)·(w − zw) = S − zx·Σ_k w[k, j] − zw·Σ_k x[i, k] + K·zx·zw

The sums behind zx and zw are taken by vector units, in integers, and only where these are not 0. Arrays hold int8: a uint8 operand
is moved by 128, and its zero point with it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.backends.cim.lowering.emitting import SIGN_SHIFT, Workshop, shift_sign
from netwright.backends.cim.lowering.prices import attention_of
from netwright.backends.cim.lowering.reading import NoProduct, activation, grid_of, integers
from netwright.backends.cim.lowering.sums import Scales, share, to_bytes, to_floats
from netwright.ir.editor import Editor
from netwright.ir.opinfo import is_standard, site
from netwright.ir.program import constant
from netwright.ir.shapes import static_shape
from netwright.passes.rewrite import Rewrite

_MOVES = ("DequantizeLinear", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""What may stand between a constant and a product."""
_GRIDS = "both operands are computed: quantize(attention='arrays') puts them on grids, 'auto' where arrays cost less"
WIDE = {"to": int(onnx_ir.DataType.INT32)}


def is_computed(value: onnx_ir.Value | None) -> bool:
    """True of a right operand that depends on the input, whether it is integers or not."""
    while value is not None and (node := value.producer()) is not None and is_standard(node, *_MOVES):
        value = node.inputs[0]
    return value is not None and constant(value) is None


def lower_pair(node: onnx_ir.Node, workshop: Workshop) -> Rewrite:
    """A MatMul of two values as a `CrossbarMatMul` with computed weights.

    Raises:
        NoProduct: it cannot be one, or costs more; the message says why.
    """
    x, x_scale, x_zero = activation(node.inputs[0], _GRIDS)
    w = integers(node.inputs[1], "the weight", _GRIDS)
    x_shape, w_shape = static_shape(node.inputs[0]), static_shape(node.inputs[1])
    sizes = attention_of(node)
    if sizes is None or x_shape is None or w_shape is None or len(w_shape) < 2:
        raise NoProduct("both operands are computed, and their sizes are not known, or no matrices'")
    if workshop.attention == "vector":
        raise NoProduct("both operands are computed, and attention='vector' leaves these on vector units")
    if (short := sizes.why_not_held(workshop.arch)) is not None:
        raise NoProduct(short)
    if workshop.attention == "auto" and (dearer := sizes.why_vector(workshop.arch)) is not None:
        raise NoProduct(dearer)
    if len(w_shape) != 2 and x_shape[:-2] != w_shape[:-2]:
        raise NoProduct(f"both operands are computed, {list(x_shape)} and {list(w_shape)}: one is repeated along leading axes")
    if workshop.arch.array.encoding == "differential":
        raise NoProduct("both operands are computed, and may be −128, which differential columns of 7 bits cannot hold")
    if w.scale.size != 1 or w.dtype not in ("uint8", "int8"):
        kind = w.dtype or "of unknown type"
        raise NoProduct(f"the right operand is {kind} with {w.scale.size} scales; arrays are written with bytes of one")
    shifted, moved = workshop.shifts(x.dtype), w.dtype == "uint8"
    zeros = (x_zero + SIGN_SHIFT * shifted, int(w.zero.reshape(-1)[0]) - SIGN_SHIFT * moved)
    scales = Scales(site(node), x_scale, w.scale.reshape(-1), np.zeros(w_shape[-1], np.int32))
    grid = grid_of(node.outputs[0])

    def change(editor: Editor) -> None:
        source = shift_sign(editor, x.value) if shifted else x.value
        held = _signed(editor, w.value) if moved else w.value
        sums = workshop.product(editor, source, held, node, signed=x.dtype == "int8" and not shifted)
        total = _corrected(editor, sums, source, held, zeros, x_shape[-1], site(node))
        if grid is not None:
            editor.replace(grid.value, to_bytes(editor, total, scales, grid))
        else:
            editor.replace(node.outputs[0], to_floats(editor, total, scales))

    heads = f"{sizes.count} × " if sizes.count > 1 else ""
    why = f"{heads}[{sizes.rows}, {sizes.outputs}] written to arrays for every sample, sums to {'bytes' if grid is not None else 'floats'}"
    return Rewrite.edit(site(node), why, change, anchor=node)


def _signed(editor: Editor, w: onnx_ir.Value) -> onnx_ir.Value:
    """uint8 − 128 as int8."""
    wide = editor.op("Cast", [w], WIDE, name=f"{w.name}.wide")
    moved = editor.op("Sub", [wide, editor.constant(np.array(SIGN_SHIFT, np.int32), f"{w.name}.shift")], name=f"{w.name}.shifted")
    return editor.op("Cast", [moved], {"to": int(onnx_ir.DataType.INT8)}, name=f"{w.name}.signed")


def _corrected(
    editor: Editor, sums: onnx_ir.Value, x: onnx_ir.Value, w: onnx_ir.Value, zeros: tuple[int, int], rows: int, name: str
) -> onnx_ir.Value:
    """The sums without what zero points contribute."""
    total, (x_zero, w_zero) = sums, zeros
    if x_zero:
        part = share(editor, w, -2, x_zero, f"{name}.columns")
        if w_zero:
            both = editor.constant(np.array(rows * x_zero * w_zero, np.int32), f"{name}.both")
            part = editor.op("Sub", [part, both], name=f"{name}.share")
        total = editor.op("Sub", [total, part], name=f"{name}.left")
    if w_zero:
        total = editor.op("Sub", [total, share(editor, x, -1, w_zero, f"{name}.rows")], name=f"{name}.total")
    return total
