"""Hidden states of feed-forward layers: what stands between two products, behind an activation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir

from netwright.ir.opinfo import ELEMENTWISE, ELEMENTWISE_UNARY, is_standard
from netwright.ir.program import Program, constant
from netwright.ir.schemas import CONTRIB_DOMAIN
from netwright.ir.shapes import rank, shape_of
from netwright.passes.rewrite import site_of
from netwright.passes.sparsify.walking import MOVES, clamps, source_of, weight_of

_CONTRIB_PRODUCTS = frozenset({"DynamicQuantizeMatMul", "FusedGemm", "FusedMatMul", "MatMulBnb4", "MatMulIntegerToFloat", "MatMulNBits"})
_CONTRIB_ACTIVATIONS = frozenset({"BiasGelu", "FastGelu", "Gelu", "QuickGelu"})
_LINEAR = frozenset(
    {"Abs", "BitwiseNot", "Cast", "CastLike", "Ceil", "Floor", "Identity", "IsInf", "IsNaN", "Neg", "Not", "Round", "Shrink", "Sign"}
)
_THROUGH = ELEMENTWISE | MOVES | {"DequantizeLinear", "QuantizeLinear", "Slice", "Split"}
_STEPS = 32


@dataclass(frozen=True, slots=True)
class Hidden:
    """A hidden state.

    Attributes:
        value: as the second product reads it.
        site: name of the second product's result.
    """

    value: onnx_ir.Value
    site: str


def hidden_states(program: Program) -> Iterator[Hidden]:
    """The hidden states of the main graph, in graph order.

    A product with a weight reads one if there is an activation and otherwise only element-wise work (gates included) between it and
    earlier products with weights; in models without a sequence axis, only if the layer widens: a classifier's head does not count.
    """
    for node in program.graph:
        value = product_input(node)
        if value is not None and _is_hidden(value):
            yield Hidden(value, site_of(node))


def product_input(node: onnx_ir.Node) -> onnx_ir.Value | None:
    """What a product with a weight reads, before it is quantized; None of any other node."""
    if is_standard(node, "MatMul", "Gemm"):
        return node.inputs[0] if weight_of(node.inputs[1]) is not None and weight_of(node.inputs[0]) is None else None
    if is_standard(node, "MatMulInteger"):
        quantized = node.inputs[0].producer() if node.inputs[0] is not None else None
        known = quantized is not None and is_standard(quantized, "DynamicQuantizeLinear") and constant(node.inputs[1]) is not None
        return quantized.inputs[0] if known and quantized is not None else None
    return node.inputs[0] if node.domain == CONTRIB_DOMAIN and node.op_type in _CONTRIB_PRODUCTS else None


def _is_hidden(value: onnx_ir.Value) -> bool:
    products = _products_before(value)
    if not products:
        return False
    if (rank(source_of(value)) or 3) >= 3:
        return True
    width = _width(value)
    return all((before := _width(product_input(node))) is not None and width is not None and width > before for node in products)


def _products_before(value: onnx_ir.Value) -> list[onnx_ir.Node]:
    """The products that a value comes from by element-wise work with an activation in it; none where it comes from elsewhere too."""
    pending, seen, found, active = [value], set[onnx_ir.Node](), list[onnx_ir.Node](), False
    while pending:
        current = pending.pop()
        node = current.producer()
        if node in seen or constant(current) is not None:
            continue
        if node is None or len(seen) > _STEPS:
            return []
        seen.add(node)
        if product_input(node) is not None:
            found.append(node)
        elif is_standard(node, "DynamicQuantizeLinear"):
            continue  # a scale
        elif node.domain == CONTRIB_DOMAIN and node.op_type in _CONTRIB_ACTIVATIONS:
            active = True
            pending.append(node.inputs[0])  # type: ignore[arg-type]
        elif is_standard(node) and node.op_type in _THROUGH:
            active = active or node.op_type in ELEMENTWISE_UNARY - _LINEAR or (is_standard(node, "QuantizeLinear") and clamps(node))
            data = node.inputs[:1] if node.op_type not in ELEMENTWISE else node.inputs
            pending.extend(one for one in data if one is not None)
        else:
            return []
    return found if active else []


def _width(value: onnx_ir.Value | None) -> int | None:
    shape = shape_of(value)
    return shape[-1] if shape and isinstance(shape[-1], int) else None
