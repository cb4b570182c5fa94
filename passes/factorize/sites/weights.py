"""A site's weight in the layout of `Operator`, from the tensor as it is stored."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.opinfo import int_attr, is_standard
from netwright.ir.program import array
from netwright.passes.factorize.operator import Kind
from netwright.passes.factorize.sites.site import FactorSite, Reader


def weight_of(site: FactorSite) -> np.ndarray:
    """The weight of a site's operator, float64; of several weights, stacked along the outputs.

    What a Gemm multiplies the product by (alpha) is left out: the last node of a chain multiplies by it, as the Gemm did.
    """
    parts: list[np.ndarray] = []
    for weight in site.weights:
        stored = array(weight)
        assert stored is not None, "sites are found by their constant weights"
        parts.append(in_operator_layout(stored.astype(np.float64), site.kind, as_stored=stored_as_operator(site, weight)))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def in_operator_layout(stored: np.ndarray, kind: Kind, *, as_stored: bool) -> np.ndarray:
    """A stored weight in the layout of its operator.

    Args:
        stored: as the initializer has it.
        kind: of operator.
        as_stored: of matrices, whether the operator is [outputs, inputs] as stored.
    """
    if kind in ("linear", "table"):
        return stored if as_stored else stored.T
    if kind in ("recurrent", "state"):
        return stored.reshape(-1, stored.shape[-1])
    return stored


def stored_as_operator(site: FactorSite, weight: onnx_ir.Value) -> bool:
    """Whether a weight of a site is stored as [outputs, inputs]; not so of tables, and of weights on the right of a MatMul."""
    if site.kind != "linear":
        return site.kind != "table"
    return next(reads_as_stored(reader) for reader in site.readers if reader.kind == "linear" and behind(reader)[0] is weight)


def reads_as_stored(reader: Reader) -> bool:
    """Whether the operator that a linear reader, or a table's, computes is the weight as stored; else it is its transpose."""
    if reader.kind != "linear":
        return reader.kind != "table"
    return (behind(reader)[1] != operand_turned(reader)) != is_left(reader)


def is_left(reader: Reader) -> bool:
    """Whether the weight is the first operand of a product, so that channels lie along the last axis but one."""
    return reader.kind == "linear" and reader.index == 0


def operand_turned(reader: Reader) -> bool:
    """Whether the node itself transposes the weight."""
    return reader.node.op_type == "Gemm" and bool(int_attr(reader.node, "transA" if reader.index == 0 else "transB", 0))


def data_turned(reader: Reader) -> bool:
    """Whether the node itself transposes the data."""
    return reader.node.op_type == "Gemm" and bool(int_attr(reader.node, "transB" if reader.index == 0 else "transA", 0))


def data_of(reader: Reader) -> onnx_ir.Value:
    """What the weight is applied to now: the lowering of an earlier layer may have put another value in the place of `reader.data`."""
    index = 1 - reader.index if reader.kind in ("linear", "table") else 0
    value = reader.node.inputs[index]
    assert value is not None, "a reader has its data"
    return value


def behind(reader: Reader) -> tuple[onnx_ir.Value, bool]:
    """The initializer that a reader's weight comes from, and whether an odd number of Transposes lies between."""
    value, turned = reader.node.inputs[reader.index], False
    while value is not None and (node := value.producer()) is not None and is_standard(node, "Transpose", "Identity"):
        turned ^= node.op_type == "Transpose"
        value = node.inputs[0]
    assert value is not None, "a reader has its weight"
    return value, turned
