"""GELU, spelt out with erf or tanh, becomes Gelu."""

from __future__ import annotations

import math

import onnx_ir

from netwright.ir.opinfo import is_float
from netwright.ir.program import Program
from netwright.passes.rewrite import Miss, Rewrite
from netwright.passes.rules import Rule
from netwright.passes.simplify.match import close_to, escaping, fusion, other_input, read_elsewhere, reader, scalar
from netwright.passes.simplify.match_product import polynomial, products, with_scaled_factor

_ERF_ARGUMENT = (0.0, math.sqrt(0.5), 0.0, 0.0)
_TANH_ARGUMENT = (0.0, math.sqrt(2.0 / math.pi), 0.0, 0.044715 * math.sqrt(2.0 / math.pi))

_FORMS: dict[str, tuple[tuple[float, ...], str]] = {"Erf": (_ERF_ARGUMENT, "none"), "Tanh": (_TANH_ARGUMENT, "tanh")}
"""Operator inside the form: its argument as a polynomial in x, and Gelu's `approximate`.

`x/2 · (1 + erf(x/√2))` and `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))` (Hendrycks and Gimpel, 2016, arXiv:1606.08415).
"""


@fusion("Erf", "Tanh", since=20)
def fuse_gelu(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`x/2 · (1 + erf(x/√2))`, or its tanh form, in any order of factors, becomes Gelu."""
    shifted = reader(node.outputs[0], "Add")
    if shifted is None or not close_to(scalar(other_input(shifted, node.outputs[0]), node.outputs[0]), 1.0, 0.0):
        return None
    wanted, approximate = _FORMS[node.op_type]
    for grown in products(shifted.outputs[0]):
        for product in with_scaled_factor(grown):
            if product.other is None or not is_float(product.other.dtype) or not close_to(product.number, 0.5, 1e-3):
                continue
            argument = polynomial(node.inputs[0], product.other)
            tolerance = 2e-3 if product.other.dtype != onnx_ir.DataType.FLOAT else 1e-4
            if argument is None or not _matches(argument.coefficients, wanted, tolerance):
                continue
            outside = escaping({node, shifted, *product.nodes, *argument.nodes}, product.root)
            if outside is not None:
                return read_elsewhere(outside, product.root, "GELU")
            return _gelu(product.root, product.other, approximate)
    return None


def _gelu(root: onnx_ir.Node, source: onnx_ir.Value, approximate: str) -> Rewrite:
    return Rewrite.build(
        root,
        lambda editor: editor.op("Gelu", [source], {"approximate": approximate}, like=root.outputs[0]),
        why=f"GELU, approximation {approximate}",
    )


def _matches(found: tuple[float, ...], wanted: tuple[float, ...], tolerance: float) -> bool:
    return all(close_to(a, b, tolerance) if b else a == 0.0 for a, b in zip(found, wanted, strict=True))


RULES: tuple[Rule, ...] = (fuse_gelu,)
