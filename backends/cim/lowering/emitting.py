"""Own operators in the graph: the product itself, with weights and codings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import onnx_ir

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.checks import lossless
from netwright.backends.cim.coding.model import Coding, WeightCoding
from netwright.backends.cim.lowering.chips import applies_signed, coding_for
from netwright.backends.cim.lowering.naming import Names
from netwright.backends.cim.lowering.reading import NoProduct
from netwright.backends.cim.ops.attributes import LAYER, coding_attributes
from netwright.backends.cim.ops.im2col import IM2COL, Im2Col
from netwright.backends.cim.ops.matmul import CROSSBAR_MATMUL
from netwright.backends.cim.ops.schemas import DOMAIN
from netwright.ir.editor import Editor
from netwright.ir.opinfo import site

Place: TypeAlias = Literal["auto", "vector", "crossbars"]
Attend: TypeAlias = Literal["auto", "vector", "arrays"]

_ALWAYS = ("rows", "encoding", "converter_mode")
"""Attributes that stand in the graph whatever they are; others are left out where they are as usual, so that dumps are read easily."""

SIGN_SHIFT = 128
"""Added to int8 inputs where a chip's digits carry no sign."""


@dataclass
class Workshop:
    """What products of one run share: the chip, and weights already brought into the form that arrays hold.

    Attributes:
        arch: the chip.
        grouped: where grouped convolutions go: `auto`, `vector` or `crossbars`.
        names: of layers.
        attention: where products of two values of the input go: `auto`, `vector` or `arrays`.
        matrices: by name of the weight and form: [K, J] matrices in the graph, so that ties stay ties.
        products: products made so far; each has its own stream of noise.
    """

    arch: Arch
    grouped: Place = "auto"
    names: Names = field(default_factory=Names)
    attention: Attend = "auto"
    matrices: dict[tuple[str, str], onnx_ir.Value] = field(default_factory=dict[tuple[str, str], onnx_ir.Value])
    products: int = 0

    def matrix(self, editor: Editor, source: onnx_ir.Value, form: str, data: np.ndarray) -> onnx_ir.Value:
        """The matrix of a weight in the graph: the weight itself in the form `as is`, else a constant made once for each form."""
        if form == "as is":
            return source
        key = (source.name or "", form)
        known = self.matrices.get(key)
        if known is None or known.graph is None:
            known = self.matrices[key] = editor.constant(np.ascontiguousarray(data), f"{source.name}.matrix")
        return known

    def shifts(self, dtype: str) -> bool:
        """True where int8 inputs must become uint8 for this chip."""
        return dtype == "int8" and not applies_signed(self.arch)

    def refuse(self, matrix: np.ndarray, rest: np.ndarray | None = None) -> None:
        """Refuse weights that the chip's encoding cannot hold, or whose zero points would multiply what conversions lose.

        Args:
            matrix: int8.
            rest: the weights' zero points, where something is left of them.

        Raises:
            NoProduct: −128 in differential columns; zero points on a chip that rounds sums.
        """
        if self.arch.array.encoding == "differential" and matrix.size and matrix.min() == -128:
            count = int((matrix == -128).sum())
            raise NoProduct(f"{count} weights are −128, which differential columns of 7 bits cannot hold: quantize weights to −127 … 127")
        if rest is not None and rest.any() and not lossless(coding_for(self.arch)):
            raise NoProduct(
                f"the weights' zero points, of which up to {int(np.abs(rest).max())} is left when they are int8, would multiply what the "
                "chip's converters lose: quantize weights with zero points of 0 (int8) or 128 (uint8)"
            )

    def product(
        self, editor: Editor, x: onnx_ir.Value, w: onnx_ir.Value, node: onnx_ir.Node, *, signed: bool, encoding: WeightCoding | None = None
    ) -> onnx_ir.Value:
        """The `CrossbarMatMul` of a node, in the chip's own encoding where none is given."""
        coding = coding_for(self.arch, input_signed=signed, encoding=encoding, stream=self.products)
        self.products += 1
        usual = coding_attributes(Coding())
        told = {name: value for name, value in coding_attributes(coding).items() if name in _ALWAYS or usual.get(name) != value}
        attributes = {**told, LAYER: self.names.of(node)}
        return editor.op(CROSSBAR_MATMUL, [x, w], attributes, domain=DOMAIN, name=f"{site(node)}.sums")


def shift_sign(editor: Editor, x: onnx_ir.Value) -> onnx_ir.Value:
    """int8 + 128 as uint8."""
    wide = editor.op("Cast", [x], {"to": int(onnx_ir.DataType.INT32)}, name=f"{x.name}.wide")
    moved = editor.op("Add", [wide, editor.constant(np.array(SIGN_SHIFT, np.int32), f"{x.name}.shift")], name=f"{x.name}.shifted")
    return editor.op("Cast", [moved], {"to": int(onnx_ir.DataType.UINT8)}, name=f"{x.name}.unsigned")


def windows(editor: Editor, x: onnx_ir.Value, window: Im2Col) -> onnx_ir.Value:
    """An `Im2Col`; the map itself where each window is one place and all are taken."""
    if window.kernel == (1, 1) and window.strides == (1, 1) and not any(window.pads):
        return x
    return editor.op(IM2COL, [x], window.attributes(), domain=DOMAIN, name=f"{x.name}.windows")
