"""`CrossbarMatMul`: a product with weights that stand in crossbars.

x: bytes [..., K], w: int8 [K, J] → int32 [..., J]: Σ_k x · w, without zero points, as the coding in its attributes computes it
(`netwright.backends.cim.coding.model`). Where every conversion is exact, that is the plain integer product.

w may be computed: then it is written to arrays first, for every sample; with leading axes, those of x, it is a matrix for each place there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx_ir

from netwright.backends.cim.coding.checks import check, lossless
from netwright.backends.cim.coding.model import Coding, Disturbance
from netwright.backends.cim.ops.attributes import LAYER, coding_attributes, coding_of
from netwright.backends.cim.ops.building import Body
from netwright.backends.cim.ops.conversions import lossy_product
from netwright.backends.cim.ops.schemas import schema
from netwright.ir.dims import same_dims, shape_of
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.operators import Operator
from netwright.ir.opinfo import site
from netwright.ir.schemas import DefaultValue
from netwright.ir.shape_context import Context
from netwright.ir.shape_rules.common import required, set_output
from netwright.ir.shapes import static_shape

CROSSBAR_MATMUL = "CrossbarMatMul"


def _facts() -> Mapping[str, tuple[str, DefaultValue | object]]:
    kinds = {int: "INT", float: "FLOAT", str: "STRING"}
    usual = coding_attributes(Coding(noise=Disturbance()))
    return {name: (kinds[type(value)], value) for name, value in usual.items()} | {LAYER: ("STRING", "")}


SCHEMA = schema(CROSSBAR_MATMUL, "x:X w:W", "y:I", _facts())


def infer(context: Context, node: onnx_ir.Node) -> None:
    """The shape rule: [..., K] × [K, J], or [..., M, K] × [..., K, J], → int32 [..., J]."""
    x, w = required(node, 2)
    dims, weight = shape_of(x), shape_of(w)
    if dims is None or weight is None:
        set_output(context, node.outputs[0], None, onnx_ir.DataType.INT32)
        return
    alike = len(weight) == 2 or (len(weight) == len(dims) > 2 and same_dims(weight[:-2], dims[:-2]))
    if len(weight) < 2 or not alike or dims[-1] != weight[-2]:
        raise ValueError(f"the inputs are {list(dims)}, the weights {list(weight)}")
    set_output(context, node.outputs[0], (*dims[:-1], weight[-1]), onnx_ir.DataType.INT32)


def expand(node: onnx_ir.Node) -> onnx_ir.Graph:
    """The plain integer product where every conversion is exact; else digits × cells with each sum converted. Noise is left out.

    Raises:
        UnsupportedModelError: conversions lose something, and the weights' size is not known; or the coding is none.
    """
    coding = replace(coding_of(node), noise=None)
    check(coding)
    body = Body("x", "w")
    size = static_shape(node.inputs[1])
    if lossless(coding, min(coding.rows, size[-2]) if size else None) and coding.encoding != "xnor":
        return body.finish(body.op("MatMulInteger", [body.input(0), body.input(1)]), CROSSBAR_MATMUL)
    if size is None:
        raise UnsupportedModelError("The size of the weights is not known.", place=site(node), remedy="Give every dimension a number.")
    return body.finish(lossy_product(body, coding, size), CROSSBAR_MATMUL)


OPERATOR = Operator(SCHEMA, infer, expand)
