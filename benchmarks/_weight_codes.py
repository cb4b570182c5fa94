"""What codes of other forms than the codec's would make of a program's integer weights, and what no code of single integers beats."""

from __future__ import annotations

from collections.abc import Container, Iterator

import numpy as np
import onnx_ir

from netwright.codec import measure_weights
from netwright.codec.golomb import ORDERS, lengths
from netwright.ir.program import Program, constant


def rivals(program: Program) -> dict[str, float]:
    """Times fewer bytes than dense, over all weights that `measure_weights` codes.

    `codec`: what it writes. `signed`: Exponential-Golomb codes of all integers, zeros among them, without a bitmap, with the best order
    of each tensor. `signed by row`: of each row, with four bits to name it. `entropy`: the integers' own, by tensor.
    """
    measured = measure_weights(program)
    bits = {"signed": 0.0, "signed by row": 0.0, "entropy": 0.0}
    for array in _integers(program, measured.weights.keys()):
        numbers = np.where(array > 0, 2 * array - 1, -2 * array)
        by_order = np.stack([lengths(numbers, order).sum(1) for order in ORDERS])
        counts = np.unique(array, return_counts=True)[1] / array.size
        bits["signed"] += float(by_order.sum(1).min())
        bits["signed by row"] += float(by_order.min(0).sum()) + 4 * len(array)
        bits["entropy"] -= float((counts * np.log2(counts)).sum()) * array.size
    return {"codec": measured.dense / measured.coded, **{form: 8 * measured.dense / size for form, size in bits.items()}}


def _integers(program: Program, names: Container[str | None]) -> Iterator[np.ndarray]:
    """Weights as [rows, columns] around zero."""
    for value in program.initializers():
        tensor = constant(value)
        if tensor is None or value.name not in names:
            continue
        middle = {onnx_ir.DataType.UINT8: 128, onnx_ir.DataType.UINT4: 8}.get(tensor.dtype, 0)
        array = tensor.numpy().astype(np.int64) - middle
        yield array.reshape(-1, array.shape[-1])
