"""Fixed transforms that stand as convolutions: a short-time Fourier transform whose magnitudes are taken."""

from __future__ import annotations

import onnx_ir

from netwright.ir.program import array, constant

SPECTRUM = (
    "left float: its outputs are squared and summed, as those of a Fourier transform written as a convolution: "
    "one step of int8 for the loudest band would swamp the quiet ones"
)

_VIEWS = frozenset({"Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
_REACH = 6
"""How many views may stand between the convolution and the squares."""


def is_spectrum(node: onnx_ir.Node) -> bool:
    """True for a convolution of one signal whose outputs are all squared, directly or behind views."""
    tensor = constant(node.inputs[1])
    if tensor is None or int(tensor.shape[1]) != 1 or node.attributes.get_int("group", 1) != 1:  # type: ignore[arg-type]
        return False
    return _squared(node.outputs[0], _REACH)


def _squared(value: onnx_ir.Value, reach: int) -> bool:
    readers = [user for user, _ in value.uses()]
    return bool(readers) and not value.is_graph_output() and all(_is_square(user, value, reach) for user in readers)


def _is_square(user: onnx_ir.Node, value: onnx_ir.Value, reach: int) -> bool:
    if user.domain:
        return False
    if user.op_type in ("ReduceL2", "ReduceSumSquare"):
        return True
    if user.op_type == "Mul":
        return user.inputs[0] is value and user.inputs[1] is value
    if user.op_type == "Pow":
        exponent = array(user.inputs[1], limit=1)
        return user.inputs[0] is value and exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 2.0
    read = [output for output in user.outputs if output.uses()]
    return user.op_type in _VIEWS and reach > 0 and bool(read) and all(_squared(output, reach - 1) for output in read)
