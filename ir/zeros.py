"""The mark on a tensor that its zeros are meant: training keeps them, and so do files."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.program import Program, constant

ZEROS = "netwright.zeros"
"""Metadata key of a tensor; with the value `kept`, elements that are zero stay zero when the tensor is trained."""
KEPT = "kept"


def with_kept_zeros(data: np.ndarray, name: str) -> onnx_ir.TensorProtocol:
    """A tensor whose zeros are meant."""
    return onnx_ir.Tensor(np.ascontiguousarray(data), name=name, metadata_props={ZEROS: KEPT})


def keeps_zeros(value: onnx_ir.Value | None) -> bool:
    """True of a constant whose zeros are meant."""
    tensor = constant(value)
    return isinstance(tensor, onnx_ir.TensorProtocol) and tensor.metadata_props.get(ZEROS) == KEPT


def zeros_kept(program: Program) -> tuple[str, ...]:
    """Names of the initializers whose zeros are meant."""
    return tuple(value.name or "" for value in program.initializers() if keeps_zeros(value))
