"""Reading the weights of sites."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.errors import UnsupportedModelError
from netwright.ir.program import array


def float_array(weight: onnx_ir.Value) -> np.ndarray:
    """A site's weight; of float32 as it lies in memory or in its file, of other types converted.

    Raises:
        UnsupportedModelError: it is not constant (any more).
    """
    data = array(weight)
    if data is None:
        raise UnsupportedModelError(f"The weight %{weight.name} is not constant.", place=weight.name, remedy="Run simplify first.")
    return data if data.dtype == np.float32 else data.astype(np.float32)


def owner_of(weight: onnx_ir.Value) -> onnx_ir.Graph | None:
    """The graph that holds a constant, so that what replaces it is seen by the same readers."""
    producer = weight.producer()
    graph = weight.graph if producer is None else producer.graph
    return graph if isinstance(graph, onnx_ir.Graph) else None
