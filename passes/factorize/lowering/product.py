"""Products and tables: MatMul, Gemm and Gather with a chain of matrices in the place of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.editor import AttributeValue, Editor
from netwright.ir.opinfo import float_attr
from netwright.ir.program import array
from netwright.ir.shapes import rank
from netwright.passes.factorize.factors import Factors
from netwright.passes.factorize.lowering.bias import add_behind, is_shiftable, shifted_input
from netwright.passes.factorize.lowering.folded import Folding, folding_refusal, marked
from netwright.passes.factorize.lowering.store import Matrices, dtype_of, folds
from netwright.passes.factorize.sites.site import FactorSite, Reader
from netwright.passes.factorize.sites.weights import data_of, data_turned, is_left, operand_turned, reads_as_stored
from netwright.passes.refit.bias import bias_place
from netwright.passes.statistics import layer_of

BIAS_OPTIONAL = 11
"""The operator set from which on Gemm may be without a bias."""


def product_refusal(site: FactorSite, factors: Factors) -> str | None:
    """Why products and tables cannot become this chain; None where they can."""
    reason = folding_refusal(factors.stages, factors.dims, factors.perm, site.shape[1], site.shape[0])
    graph = site.readers[0].node.graph
    opset = graph.opset_imports.get("", 0) if graph is not None else 0
    if opset < BIAS_OPTIONAL and any(reader.node.op_type == "Gemm" for reader in site.readers):
        return f"Gemm of opset {opset} is not without a bias; raise the opset to {BIAS_OPTIONAL} first"
    if reason is not None or not folds(factors):
        return reason
    if len(site.weights) > 1 and (factors.dims or factors.stages[-1].dims):
        return "joined weights are told apart by the rows of the last stage, which folds its channels"
    for reader in site.readers:
        name = reader.node.outputs[0].name
        if reader.kind == "table":
            return f"{reader.node.op_type} %{name} looks up entries, which folded channels do not have"
        if is_left(reader):
            return f"{reader.node.op_type} %{name} has the weight on the left, where channels are not the last axis"
        if (rank(data_of(reader)) or 0) < 1:
            return f"the number of axes of %{data_of(reader).name} is not known"
    return None


def lower_product(editor: Editor, site: FactorSite, factors: Factors, shift: np.ndarray | None) -> None:
    """Replace each reader; stages that readers of the same data have in common are computed once, before the first of them."""
    editor.at(site.readers[0].node)
    chain = _Chain(editor, site, factors, Matrices(editor, site, factors, into=folds(factors) or _stored_into(site)), {}, {})
    for reader in site.readers:
        editor.at(reader.node)
        if reader.kind == "table":
            chain.look_up(reader, shift)
        else:
            chain.multiply(reader, None if shift is None else shift[slice(*reader.rows)])


def _stored_into(site: FactorSite) -> bool:
    """Whether most readers want matrices as [inputs, outputs]. A table's wish counts most; a Gemm takes what there is."""
    as_stored = any(reads_as_stored(reader) for reader in site.readers if reader.kind == "linear")
    if any(reader.kind == "table" for reader in site.readers):
        return not as_stored
    wishes = [not is_left(reader) for reader in site.readers if reader.node.op_type == "MatMul"]
    if wishes:
        return 2 * sum(wishes) >= len(wishes)
    return operand_turned(site.readers[0]) == is_left(site.readers[0])


_Seen = tuple[onnx_ir.Value, bool, bool]
"""Data, whether the node transposes it, and whether the weight is on the left of it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Chain:
    editor: Editor
    site: FactorSite
    factors: Factors
    matrices: Matrices
    inner: dict[_Seen, onnx_ir.Value]
    """What comes out of all stages but the last."""
    folded: dict[_Seen, Folding]
    """The same, of stages on folded channels."""

    # ---- tables ----------------------------------------------------------------------------------------------------

    def look_up(self, reader: Reader, shift: np.ndarray | None) -> None:
        """Rows of the factor that holds entries, multiplied with the others.

        An operator of kind `table` has entries for inputs; one that is linear as well may have them for outputs, and then its factors
        are read the other way round.
        """
        result = reader.node.outputs[0]
        numbers = list(range(len(self.matrices)))
        entries_first = not any(reads_as_stored(other) for other in self.site.readers if other.kind == "linear")
        order = numbers if entries_first else numbers[::-1]
        table = self.matrices.laid(order[0], reader.rows, into=entries_first)
        value = self.editor.op("Gather", [table, data_of(reader)], {"axis": 0}, name=self._hint(result, order[0]))
        for number in order[1:]:
            matrix = self.matrices.laid(number, reader.rows, into=entries_first)
            value = self.editor.op("MatMul", [value, matrix], name=self._hint(result, number))
        if shift is not None and self.site.kind == "table":
            value = add_behind(self.editor, value, shift, -1, dtype_of(self.site), result.name or "sum")
        self.editor.replace(result, value)

    # ---- products --------------------------------------------------------------------------------------------------

    def multiply(self, reader: Reader, shift: np.ndarray | None) -> None:
        """The last stage on what the stages before it make, with the reader's gain and bias."""
        result = reader.node.outputs[0]
        behind = self._shift_behind(reader, shift)
        if folds(self.factors):
            value = self._folded(reader, None if behind is shift else shift)
        else:
            value = self._dense(reader, None if behind is shift else shift)
        if behind is not None:
            axis = -2 if is_left(reader) and (rank(data_of(reader)) or 2) > 1 else -1
            value = add_behind(self.editor, value, behind, axis, dtype_of(self.site), result.name or "sum")
        self.editor.replace(result, value)

    def _shift_behind(self, reader: Reader, shift: np.ndarray | None) -> np.ndarray | None:
        """What is left to be added behind the chain: the shift, unless a bias next to the node takes it."""
        node = reader.node
        if shift is None:
            return None
        if node.op_type == "Gemm":
            outputs = reader.rows[1] - reader.rows[0]
            bias = node.inputs[2] if len(node.inputs) > 2 else None
            inside = not is_left(reader) and is_shiftable(bias, outputs) and float_attr(node, "beta", 1.0) != 0
            return None if inside else shift
        layer = layer_of(node)
        place = None if layer is None else bias_place(layer)
        if place is None or place.kind != "add":
            return shift
        place.add(self.editor, shift)
        self.editor.at(node)
        return None

    def _dense(self, reader: Reader, shift: np.ndarray | None) -> onnx_ir.Value:
        node, result, left = reader.node, reader.node.outputs[0], is_left(reader)
        key = (data_of(reader), data_turned(reader), left)
        last = len(self.matrices) - 1
        inner = self.inner.get(key, data_of(reader))
        if key not in self.inner:
            for number in range(last):
                inner = self._apply(reader, inner, number, {})
            self.inner[key] = inner
        if node.op_type != "Gemm":
            return self._apply(reader, inner, last, {}, like=result)
        attributes: dict[str, AttributeValue] = {name: node.attributes[name] for name in ("alpha", "beta") if name in node.attributes}
        return self._apply(reader, inner, last, attributes, bias=self._bias(reader, shift), like=result)

    def _apply(
        self,
        reader: Reader,
        data: onnx_ir.Value,
        number: int,
        attributes: dict[str, AttributeValue],
        *,
        bias: onnx_ir.Value | None = None,
        like: onnx_ir.Value | None = None,
    ) -> onnx_ir.Value:
        """One dense stage: a Gemm where something is transposed, scaled or added that MatMul leaves as it is."""
        left, turned = is_left(reader), number == 0 and data_turned(reader)
        as_gemm = reader.node.op_type == "Gemm" or (rank(data_of(reader)) == 2 and self.editor.program.opset >= BIAS_OPTIONAL)
        name = self._hint(reader.node.outputs[0], number)
        wanted = not left  # how MatMul takes the matrix: [inputs, outputs] on the right
        whole = self.matrices.into == wanted
        if (whole and not turned and not attributes and bias is None) or not as_gemm:
            matrix = self.matrices.laid(number, reader.rows, into=wanted)
            return self.editor.op("MatMul", [matrix, data] if left else [data, matrix], name=name, like=like)
        matrix = self.matrices.stage(number, reader.rows)
        flags = {"transA": not whole, "transB": turned} if left else {"transA": turned, "transB": not whole}
        attributes = {**{flag: 1 for flag, on in flags.items() if on}, **attributes}
        operands: Sequence[onnx_ir.Value | None] = [matrix, data] if left else [data, matrix]
        return self.editor.op("Gemm", [*operands, *([bias] if bias is not None else [])], attributes, name=name, like=like)

    def _bias(self, reader: Reader, shift: np.ndarray | None) -> onnx_ir.Value | None:
        node = reader.node
        if shift is not None:
            return shifted_input(self.editor, node, 2, shift / float_attr(node, "beta", 1.0), dtype_of(self.site))
        return node.inputs[2] if len(node.inputs) > 2 else None

    def _folded(self, reader: Reader, shift: np.ndarray | None) -> onnx_ir.Value:
        """Folded stages by Reshape, Transpose and MatMul; a Gemm's gain and bias are nodes of their own."""
        node, result, last = reader.node, reader.node.outputs[0], len(self.matrices) - 1
        hint, mark = result.name or node.op_type, f"{self.site.name}@{result.name}"
        key = (data_of(reader), data_turned(reader), False)
        if key not in self.folded:
            self.folded[key] = self._start(reader, hint, mark)
            for number, stage in enumerate(self.factors.stages[:-1]):
                self.folded[key].multiply(stage, self.matrices.laid(number, reader.rows, into=True))
        folding = self.folded[key].branch(mark, hint)
        folding.multiply(self.factors.stages[-1], self.matrices.laid(last, reader.rows, into=True), reader.rows[1] - reader.rows[0])
        if self.factors.dims:
            folding.fold(self.factors.dims)
            folding.permute(self.factors.perm)
        folding.flatten()
        return folding.value if node.op_type != "Gemm" else self._gained(reader, folding.value, shift)

    def _start(self, reader: Reader, hint: str, mark: str) -> Folding:
        value = data_of(reader)
        if data_turned(reader):
            value = marked(self.editor.op("Transpose", [value], {"perm": [1, 0]}, name=f"{hint}.turned"), mark)
        return Folding(self.editor, value, (rank(data_of(reader)) or 1) - 1, mark, hint)

    def _gained(self, reader: Reader, value: onnx_ir.Value, shift: np.ndarray | None) -> onnx_ir.Value:
        """`alpha · value + beta · C`."""
        node, result, dtype = reader.node, reader.node.outputs[0], dtype_of(self.site)
        alpha, beta = float_attr(node, "alpha", 1.0), float_attr(node, "beta", 1.0)
        if alpha != 1.0:
            value = self.editor.op(
                "Mul", [value, self.editor.constant(np.array(alpha, dtype), f"{result.name}.alpha")], name=f"{result.name}.scaled"
            )
        bias = self._bias(reader, shift)
        if bias is None or beta == 0.0:
            return value
        if beta != 1.0:
            known = array(bias)
            factor = self.editor.constant(np.array(beta, dtype), f"{result.name}.beta") if known is None else None
            bias = (
                self.editor.constant((known.astype(np.float64) * beta).astype(dtype), f"{result.name}.bias")
                if known is not None
                else self.editor.op("Mul", [bias, factor], name=f"{result.name}.bias")
            )
        return self.editor.op("Add", [value, bias], name=result.name or "sum", like=result)

    def _hint(self, result: onnx_ir.Value, number: int) -> str:
        return f"{result.name}.{self.matrices.suffixes[number]}"
