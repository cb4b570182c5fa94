"""Runs a Program as it is, with ONNX Runtime, for comparison with torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import onnx_ir
import onnxruntime
import torch

from netwright.ir.program import Program


def run(program: Program, feeds: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The program's outputs by name."""
    session = onnxruntime.InferenceSession(onnx_ir.to_proto(program.model).SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = cast("list[np.ndarray]", session.run(None, {name: tensor.numpy() for name, tensor in feeds.items()}))
    return {value.name or "": array for value, array in zip(program.outputs, outputs, strict=True)}


def shapes(program: Program) -> list[str]:
    """The outputs' shapes as text."""
    return [str(value.shape) for value in program.outputs]
