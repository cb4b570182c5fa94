"""The steps of a lowered program as stages: a product takes its Im2Col in as a window and its Requantize as a scaling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir

from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.mapping.regions import Cut, Piece
from netwright.backends.cim.ops import coding_of, layer_of
from netwright.backends.cim.ops.im2col import Im2Col
from netwright.backends.cim.ops.requantize import dtype_of
from netwright.backends.cim.ops.schemas import DOMAIN
from netwright.backends.cim.program.model import Scaling, Window
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.opinfo import int_attr, site
from netwright.ir.program import array, constant
from netwright.ir.shapes import static_shape


@dataclass(frozen=True, eq=False)
class Rescale:
    """Sums to bytes.

    Attributes:
        scaling: how.
        source: the sums.
        target: the bytes.
        layer: for reports.
    """

    scaling: Scaling
    source: str
    target: str
    layer: str


@dataclass(frozen=True, eq=False)
class Product:
    """A product with weights in arrays.

    Attributes:
        weight: name of the matrix.
        values: int8 [K, J]; 0 where they are computed.
        coding: how it is computed.
        source: what is multiplied.
        window: how rows of K are read from it; None where they are its last axis.
        sums: what is made.
        shape: of the sums.
        rescale: what becomes of the sums where nothing else reads them.
        layer: for reports.
        lead: of computed weights [..., K, J], the leading axes: a matrix for each place; None of constant ones.
    """

    weight: str
    values: np.ndarray
    coding: Coding
    source: str
    window: Window | None
    sums: str
    shape: tuple[int, ...]
    rescale: Rescale | None
    layer: str
    lead: tuple[int, ...] | None = None

    @property
    def positions(self) -> int:
        """Vectors that go through the matrix for one sample."""
        found = 1
        for extent in self.shape[:-1]:
            found *= extent
        return found


Stage: TypeAlias = Product | Rescale | Piece


def stages_of(cut: Cut) -> tuple[Stage, ...]:
    """The stages of a lowered program, in an order in which they can be done.

    Raises:
        UnsupportedModelError: an own operator stands where a chip has no use for it.
    """
    return tuple(_stages(cut))


def _stages(cut: Cut) -> Iterator[Stage]:
    taken: set[onnx_ir.Node] = set()
    for step in cut.steps:
        if isinstance(step, Piece):
            yield step
        elif step.op_type == "CrossbarMatMul":
            product, scaler = _product(step)
            taken |= {scaler} if scaler is not None else set()
            yield product
        elif step.op_type == "Requantize":
            if step not in taken:
                yield _rescale(step, site(step))
        elif step.op_type != "Im2Col" or any(not _multiplies(user, step) for user, _ in step.outputs[0].uses()):
            raise UnsupportedModelError(
                f"{step.domain}.{step.op_type} is read by something that is no product on crossbars.",
                place=site(step),
                remedy="Lower the quantized model again with netwright's own passes.",
            )


def _multiplies(user: onnx_ir.Node, step: onnx_ir.Node) -> bool:
    return user.domain == DOMAIN and user.op_type == "CrossbarMatMul" and user.inputs[0] is step.outputs[0]


def _product(node: onnx_ir.Node) -> tuple[Product, onnx_ir.Node | None]:
    values = array(node.inputs[1])
    source, weight, sums = node.inputs[0], node.inputs[1], node.outputs[0]
    shape, held = static_shape(sums), static_shape(weight)
    lead = held[:-2] if values is None and held is not None else None
    if values is None and held is not None:
        values = np.zeros(held[-2:], np.int8)
    if values is None or source is None or weight is None or shape is None:
        raise UnsupportedModelError(
            "The shapes of a product on crossbars are not known.",
            place=site(node),
            remedy="Lower the quantized model again with netwright's own passes, with a number for every dimension.",
        )
    layer = layer_of(node) or site(node)
    window = None
    maker = source.producer()
    if maker is not None and maker.domain == DOMAIN and maker.op_type == "Im2Col":
        source = maker.inputs[0]
        window = _window(maker)
    uses = tuple(sums.uses())
    alone = len(uses) == 1 and not sums.is_graph_output()
    scaler = uses[0][0] if alone and uses[0][0].domain == DOMAIN and uses[0][0].op_type == "Requantize" else None
    rescale = _rescale(scaler, layer) if scaler is not None else None
    assert source is not None, "own operators leave no input out"
    coding = coding_of(node)
    name = weight.name or ""
    return Product(name, values, coding, source.name or "", window, sums.name or "", shape, rescale, layer, lead), scaler


def _window(node: onnx_ir.Node) -> Window:
    facts = Im2Col.of(node)
    shape = static_shape(node.inputs[0])
    assert shape is not None, "lowered programs have static shapes"
    return Window(facts.kernel, facts.strides, facts.dilations, facts.pads, facts.pad_value, (shape[1], shape[2]))


def _rescale(node: onnx_ir.Node, layer: str) -> Rescale:
    sums, bias, multiplier = node.inputs[:3]
    constants = (array(bias), array(multiplier))
    if sums is None or constants[0] is None or constants[1] is None or constant(bias) is None:
        raise UnsupportedModelError(
            "Bias and multiplier of a Requantize must be constant.", place=site(node), remedy="Quantize with scheme='static'."
        )
    width = (static_shape(sums) or (1,))[-1]
    flat = np.broadcast_to(constants[0].reshape(-1), (width,)).astype(np.int32)
    factors = np.broadcast_to(constants[1].reshape(-1), (width,)).astype(np.float32)
    zero, low, high = (int_attr(node, name, 0) for name in ("zero_point", "low", "high"))
    target = node.outputs[0].name or ""
    return Rescale(Scaling(layer, flat, factors, zero, low, high, str(np.dtype(dtype_of(node)))), sums.name or "", target, layer)


def cut_axis(one: Product) -> int:
    """The axis that copies of a product share out: one within rows, so that rows stay in step; −1 where there is but one vector."""
    shape = one.shape
    if one.window is not None:
        return 2 if shape[2] > 1 else 1 if shape[1] > 1 else -1
    return next((axis for axis in range(len(shape) - 2, -1, -1) if shape[axis] > 1), -1)
