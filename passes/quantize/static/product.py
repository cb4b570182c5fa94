"""Products of integers, in the forms that ONNX Runtime fuses (measured with 1.31).

A MatMul of a matrix with an Add behind it is first made a Gemm, and that stays float unless the bias is an int32 behind a
DequantizeLinear, or no float comes out. So: Gemm with such a bias where the operand is a matrix (QGemm), else MatMul with
the bias as [1, N] (MatMulIntegerToFloat and an Add); where what is added is computed, a Sum of two in the place of the Add. A Gemm with
one of `FUSED_BEHIND` behind it is made a FusedGemm, which is float, before integers are looked for: there too MatMul and Sum.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import float_attr, int_attr
from netwright.ir.program import array
from netwright.passes.quantize.choice import Static
from netwright.passes.quantize.record import record_bias
from netwright.passes.quantize.rounding import Rounder
from netwright.passes.quantize.sites import Site
from netwright.passes.quantize.static.pairs import Pairs
from netwright.passes.quantize.static.regions import Regions
from netwright.passes.quantize.static.stored import Form, Store, store_bias

FUSED_BEHIND = frozenset({"Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu"})
"""Activations that ONNX Runtime makes part of a float Gemm (GemmActivationFusion)."""

Terms: TypeAlias = "list[tuple[onnx_ir.Value, float]]"
"""Constants that are added, each with its factor."""


def quantize_products(
    editor: Editor, sites: tuple[Site, ...], choice: Static, rounder: Rounder, pairs: Pairs, regions: Regions, *, trainable: bool
) -> None:
    """Put the products that share a weight, their operands, and results where they go on as integers, on grids."""
    steps = [np.float32(pairs.read(editor, site.node, 0).scale) for site in sites]
    terms = [_terms(site, regions.tails[site.node].bias) for site in sites]
    vectors = [_vector(site, added) for site, added in zip(sites, terms, strict=True)]
    biases = [np.abs(vector) / step for vector, step in zip(vectors, steps, strict=True) if vector is not None]
    store = Store(sites[0].weights[0], choice, rounder, biases, trainable)
    for site, step, added, vector in zip(sites, steps, terms, vectors, strict=True):
        node, tail = site.node, regions.tails[site.node]
        alpha = float_attr(node, "alpha", 1.0) if node.op_type == "Gemm" else 1.0
        form = Form((1, 0), 0, alpha) if site.transposed else Form((0, 1), 1, alpha)
        stored = store.get(editor.at(node), form)
        weight = stored.read(editor)
        product = tail.adding if tail.adding is not None else node
        fused = node not in regions.results and _is_fused(product)
        if _as_gemm(node, vector) and not fused:
            result = _gemm(editor, site, weight, vector, added, None if trainable else stored.steps * step)
        else:
            result = _matmul(editor, site, weight, vector, added, tail.bias, adding="Sum" if fused else "Add")
        made = result.producer()
        assert made is not None
        pairs.order[made] = pairs.order[product]
        last = made if tail.last is product else tail.last
        editor.replace(product.outputs[0], result)
        if node in regions.results:
            pairs.settle(editor, last)


def _as_gemm(node: onnx_ir.Node, vector: np.ndarray | None) -> bool:
    if _computed_term(node) is not None:
        return False
    dims = shape_of(node.inputs[0])
    is_matrix = node.op_type == "Gemm" or (dims is not None and len(dims) == 2)
    return is_matrix and (int_attr(node, "transA", 0) == 1 or vector is not None)


def _gemm(
    editor: Editor, site: Site, weight: onnx_ir.Value, vector: np.ndarray | None, added: Terms, scale: np.ndarray | None
) -> onnx_ir.Value:
    """Gemm with an int32 bias in steps of `scale`; a float one where there is no scale."""
    inputs = [site.node.inputs[0], weight]
    if vector is not None:
        name = f"{site.name}.bias"
        inputs.append(_bias(editor, vector, name, added) if scale is None else store_bias(editor, vector, scale, name, added))
    return editor.op("Gemm", inputs, {"transA": int_attr(site.node, "transA", 0) or None}, name=f"{site.name}.sum")


def _is_fused(product: onnx_ir.Node) -> bool:
    """True where one activation alone reads the product, and would be fused with it."""
    users = [user for user, _ in product.outputs[0].uses()]
    return len(users) == 1 and not users[0].domain and users[0].op_type in FUSED_BEHIND and not product.outputs[0].is_graph_output()


def _matmul(
    editor: Editor,
    site: Site,
    weight: onnx_ir.Value,
    vector: np.ndarray | None,
    added: Terms,
    behind: onnx_ir.Value | None,
    *,
    adding: str,
) -> onnx_ir.Value:
    """MatMul, and an Add (or Sum) whose operand has two dimensions."""
    name, node, source = site.name, site.node, site.node.inputs[0]
    if int_attr(node, "transA", 0) == 1:
        source = editor.op("Transpose", [source], {"perm": [1, 0]}, name=f"{name}.turned")
    result = editor.op("MatMul", [source, weight], name=f"{name}.product")
    if vector is not None:
        result = editor.op(adding, [result, _bias(editor, vector[None], f"{name}.bias", added)], name=f"{name}.sum")
    term = _computed_term(node)
    if term is None:
        if behind is None:
            _unfuse(editor, node)
        return result
    beta = float_attr(node, "beta", 1.0)
    if beta != 1.0:
        term = editor.op("Mul", [term, editor.constant(np.array(beta, np.float32), f"{name}.beta")], name=f"{name}.term")
    return editor.op("Sum", [result, term], name=f"{name}.sum")


def _unfuse(editor: Editor, node: onnx_ir.Node) -> None:
    """An Add of something computed behind a product becomes a Sum of two, which ONNX Runtime does not make a float Gemm of."""
    uses = node.outputs[0].uses()
    for user, _ in uses:
        if len(uses) == 1 and user.op_type == "Add" and not user.domain and user.graph is node.graph:
            again = editor.at(user).op("Sum", user.inputs, name=f"{user.outputs[0].name}.sum", like=user.outputs[0])
            editor.replace(user.outputs[0], again)
    editor.at(node)


def _bias(editor: Editor, data: np.ndarray, name: str, added: Terms) -> onnx_ir.Value:
    """A float bias as a constant of its own."""
    made = editor.constant(data, name)
    record_bias(editor, added, made, data.shape)
    return made


def _terms(site: Site, behind: onnx_ir.Value | None) -> Terms:
    """What is added to each output channel, with its factor: the constant of the Add behind, a Gemm's `beta * C` where that is constant."""
    found = [] if behind is None else [(behind, 1.0)]
    term = site.node.inputs[2] if site.node.op_type == "Gemm" and len(site.node.inputs) > 2 else None
    if term is not None and _computed_term(site.node) is None:
        found.append((term, float_attr(site.node, "beta", 1.0)))
    return found


def _vector(site: Site, added: Terms) -> np.ndarray | None:
    """The sum of what is added, [N]; None for nothing."""
    if not added:
        return None
    total = sum(_numbers(term).reshape(-1) * np.float32(factor) for term, factor in added)
    return np.broadcast_to(total, (site.columns,)).astype(np.float32)


def _computed_term(node: onnx_ir.Node) -> onnx_ir.Value | None:
    """A Gemm's C where it is no constant with one number for each output channel, or for all."""
    term = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None
    if term is None or float_attr(node, "beta", 1.0) == 0.0:
        return None
    data = array(term)
    return term if data is None or (data.size != 1 and data.size != data.shape[-1]) else None


def _numbers(value: onnx_ir.Value) -> np.ndarray:
    data = array(value)
    assert data is not None
    return data.astype(np.float32)
