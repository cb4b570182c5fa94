"""Which GRUs can become integers, and from which size on that is faster."""

from __future__ import annotations

import onnx_ir

from netwright.ir.program import array

GRU_HIDDEN = 384
"""Least hidden units with which a GRU is faster as a Scan of integer products at one row (see `recurrent/gru.py`)."""

NO_GRU = (
    f"ONNX Runtime has no integer kernel for GRU, and one of under {GRU_HIDDEN} hidden units is slower as a Scan of integer products: 128 "
    "units ran 0.33, 256 units 0.93 times as fast with one row, 1.84 with 8; 512 units 2.2 times"
)
"""Why a GRU stays as it is where its bytes do not matter more."""

_LEAST_OPSET = 13


def gru_obstacle(node: onnx_ir.Node) -> str | None:
    """Why a GRU cannot become a Scan of integer products, as a Miss says it; None where it can."""
    graph = node.graph
    opset = graph.opset_imports.get("", 0) if graph is not None else 0
    if opset < _LEAST_OPSET:
        return f"left float: opset {opset} is below {_LEAST_OPSET}, in which a GRU becomes a Scan of integer products"
    direction = node.attributes.get_string("direction", "forward")
    usual = ["sigmoid", "tanh"] * (2 if direction == "bidirectional" else 1)
    if [name.lower() for name in node.attributes.get_strings("activations", usual)] != usual:
        return "left float: a GRU with activations of its own"
    for name in ("clip", "activation_alpha", "activation_beta"):
        if name in node.attributes:
            return f"left float: a GRU with the attribute {name}"
    if node.attributes.get_int("layout", 0):
        return "left float: a GRU whose first axis is the batch"
    if len(node.inputs) > 4 and node.inputs[4] is not None:
        return "left float: a GRU with lengths of sequences, which a Scan has not"
    bias = node.inputs[3] if len(node.inputs) > 3 else None
    if bias is not None and array(bias) is None:
        return f"left float: the bias %{bias.name} is not constant"
    return None
