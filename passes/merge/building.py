"""One node in the place of several links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.opinfo import float_attr
from netwright.passes.merge.forms import Convolution, Form, Lookup, Product
from netwright.passes.merge.forms.product import as_product
from netwright.passes.merge.links import Link, with_bias_behind
from netwright.passes.merge.naming import take_name
from netwright.passes.merge.ownership import freed
from netwright.passes.simplify.match import split_constant


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What takes the place of links.

    Attributes:
        form: of the new operator.
        gemm: whether it is written as Gemm.
        turned: whether its weight is stored as the transpose of the form's layout.
        numbers: its weight, in the form's layout, float64.
        bias: per output channel; None where what the last node reads as bias stays.
        dtype: of weights.
    """

    form: Form
    gemm: bool
    turned: bool
    numbers: np.ndarray
    bias: np.ndarray | None
    dtype: np.dtype

    @property
    def stored(self) -> np.ndarray:
        """The weight as it is stored."""
        return (self.numbers.T if self.turned else self.numbers).astype(self.dtype)

    @property
    def overflow(self) -> str:
        """Why the numbers cannot be stored, as the end of a sentence; empty where they can."""
        with np.errstate(over="ignore"):
            stored = [part.astype(self.dtype).astype(np.float64) for part in (self.numbers, self.bias) if part is not None]
        if all(np.isfinite(part).all() for part in stored):
            return ""
        return f"the product does not fit {self.dtype.name}: its largest element is {np.abs(self.numbers).max(initial=0.0):.3g}"


def result_of(links: Sequence[Link], form: Form, numbers: np.ndarray, bias: np.ndarray | None) -> Result:
    """What takes the place of links whose product is known."""
    if isinstance(form, Lookup):
        return Result(form, False, True, numbers, bias, _type(links[-1]))
    gemms = [link for link in links if link.node.op_type == "Gemm"]
    if isinstance(form, Convolution):
        return Result(form, False, False, numbers, bias, _type(links[-1]))
    turned = gemms[-1].turned if gemms else not as_product(form).left
    return Result(form, bool(gemms), turned, numbers, bias, _type(links[-1]))


def _type(link: Link) -> np.dtype:
    dtype = link.weight.dtype
    assert dtype is not None, "a float constant"
    return dtype.numpy()


def end_of(links: Sequence[Link], *, last: bool) -> Link:
    """The last link, with the bias behind it where a MatMul ends a chain and a bias from before goes into that one."""
    final = links[-1]
    inner = any(link.bias is not None for link in links[:-1])
    return with_bias_behind(final) if last and inner and final.node.op_type == "MatMul" else final


def build(editor: Editor, result: Result, x: onnx_ir.Value, weight: onnx_ir.Value, end: Link) -> onnx_ir.Value:
    """Insert the new operator.

    Args:
        editor: at the last node.
        result: what to make.
        x: what it reads.
        weight: its weight, as stored.
        end: the last link, whose result it gives.
    """
    node = end.node
    kept = node.inputs[2] if len(node.inputs) > 2 and node.op_type != "MatMul" else None
    name = f"{end.name}.bias" if kept is None else kept.name or "bias"
    if not result.gemm and not isinstance(result.form, Convolution):
        return _plain(editor, result, x, weight, end)
    bias = kept
    if result.bias is not None:
        along = result.bias.reshape(-1, 1) if isinstance(result.form, Product) and result.form.left else result.bias
        bias = editor.constant(along.astype(result.dtype), name)
        if kept is not None and freed((kept,), end.nodes):
            take_name(editor, bias, kept)
    if isinstance(result.form, Convolution):
        op = "ConvTranspose" if result.form.transposed else "Conv"
        return editor.op(op, _given(x, weight, bias), result.form.attributes(), like=end.end)
    form = as_product(result.form)
    beta = float_attr(node, "beta", 1.0) if bias is kept and kept is not None and node.op_type == "Gemm" else 1.0
    data, matrix = ("transB", "transA") if form.left else ("transA", "transB")
    attributes = {
        data: 1 if form.turned else None,
        matrix: 1 if result.turned == form.left else None,
        "beta": None if beta == 1.0 else beta,
    }
    return editor.op("Gemm", _given(*((weight, x) if form.left else (x, weight)), bias), attributes, like=end.end)


def _plain(editor: Editor, result: Result, x: onnx_ir.Value, weight: onnx_ir.Value, end: Link) -> onnx_ir.Value:
    left = isinstance(result.form, Product) and result.form.left
    if isinstance(result.form, Lookup):
        product = editor.op("Gather", [weight, x], {"axis": 0}, like=end.end)
    else:
        product = editor.op("MatMul", [weight, x] if left else [x, weight], like=end.end)
    if result.bias is None:
        return product
    summand = result.bias.reshape(-1, 1) if left else result.bias
    bias = editor.constant(summand.astype(result.dtype), f"{end.name}.bias")
    behind = [split[1] for node in end.nodes if node.op_type == "Add" and (split := split_constant(node)) is not None]
    if behind and freed(behind[-1:], end.nodes):
        take_name(editor, bias, behind[-1])
    return editor.op("Add", [product, bias], like=end.end)


def _given(*inputs: onnx_ir.Value | None) -> list[onnx_ir.Value | None]:
    found = list(inputs)
    while found[-1] is None:
        found.pop()
    return found
