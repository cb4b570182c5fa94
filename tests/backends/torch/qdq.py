"""A small network in quantizer-dequantizer form with float weights, as it is trained, and the same with integers in their place."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import netwright as nw
from netwright.ir.program import Program

STEPS = {"x": 0.03, "r1": 0.02, "r2": 0.05, "y": 0.04}
"""Steps of activations; those after Relu and Clip have their zero point at 0."""
ZEROS = {"x": 113, "r1": 0, "r2": 0, "y": 128}
SHAPES = {"w1": (16, 3, 3, 3), "w2": (16, 1, 3, 3), "w3": (256, 10)}
AXES = {"w1": 0, "w2": 0, "w3": 1}


def rows(count: int = 64, seed: int = 3) -> np.ndarray:
    """Inputs of the network."""
    return np.random.default_rng(seed).normal(0.3, 1.0, (count, 3, 8, 8)).astype(np.float32)


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Float weights and biases, none of which lies on its grid."""
    rng = np.random.default_rng(seed)
    found = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in SHAPES.items()}
    return found | {f"b{name[1]}": rng.normal(0, 0.2, found[name].shape[AXES[name]]).astype(np.float32) for name in SHAPES}


def steps_of(arrays: dict[str, np.ndarray], bits: int) -> dict[str, np.ndarray]:
    """A step for each output channel of each weight."""
    top = (1 << (bits - 1)) - 1
    rows = {name: np.moveaxis(arrays[name], AXES[name], 0).reshape(arrays[name].shape[AXES[name]], -1) for name in SHAPES}
    return {name: (np.abs(matrix).max(axis=1) / top).astype(np.float32) for name, matrix in rows.items()}


def qdq_network(bits: int = 8, seed: int = 0) -> Program:
    """Convolution, Relu, depthwise convolution, Clip, Gemm: float weights behind quantizers, all of them with a zero point.

    Weights of fewer than 8 bits lie in int8, cut off by a Clip of integers.
    """
    arrays = weights(seed)
    return nw.load(_model(arrays, steps_of(arrays, bits), dict(STEPS), bits, folded=False))


def folded(program: Program, bits: int = 8) -> onnx.ModelProto:
    """The same network with the integers that a trained program's weights and biases round to."""
    held = {value.name or "": value.const_value for value in program.initializers()}
    known = {name: np.asarray(tensor.numpy()) for name, tensor in held.items() if tensor is not None}
    scales = {name: known[f"{name}_s"] for name in SHAPES}
    return _model(known, scales, {name: float(known[f"{name}_s"]) for name in STEPS}, bits, folded=True)


def _model(
    arrays: dict[str, np.ndarray], scales: dict[str, np.ndarray], steps: dict[str, float], bits: int, *, folded: bool
) -> onnx.ModelProto:
    top = (1 << (bits - 1)) - 1
    nodes: list[onnx.NodeProto] = []
    held: dict[str, np.ndarray] = {}

    def activation(name: str) -> str:
        held[f"{name}_s"], held[f"{name}_z"] = np.array(steps[name], np.float32), np.array(ZEROS[name], np.uint8)
        nodes.append(helper.make_node("QuantizeLinear", [name, f"{name}_s", f"{name}_z"], [f"{name}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], [f"{name}_d"]))
        return f"{name}_d"

    def weight(name: str, before: str) -> list[str]:
        axis, scale = AXES[name], scales[name].astype(np.float32)
        wide = scale.reshape([-1 if place == axis else 1 for place in range(arrays[name].ndim)])
        bias = f"b{name[1]}"
        held[f"{name}_s"], held[f"{name}_z"] = scale, np.zeros(len(scale), np.int8)
        if folded:
            step = np.float32(steps[before]) * scale
            held[f"{name}_q"] = np.clip(np.rint(arrays[name] / wide), -top if bits < 8 else -128, top).astype(np.int8)
            held[f"{bias}_q"], held[f"{bias}_s"], held[f"{bias}_z"] = (
                np.rint(arrays[bias] / step).astype(np.int32),
                step,
                np.zeros(len(step), np.int32),
            )
            nodes.append(helper.make_node("DequantizeLinear", [f"{bias}_q", f"{bias}_s", f"{bias}_z"], [f"{bias}_d"], axis=0))
        else:
            held[name], held[bias] = arrays[name], arrays[bias]
            whole = f"{name}_q" if bits == 8 else f"{name}_wide"
            nodes.append(helper.make_node("QuantizeLinear", [name, f"{name}_s", f"{name}_z"], [whole], axis=axis))
            if bits < 8:
                held[f"{name}_low"], held[f"{name}_high"] = np.array(-top, np.int8), np.array(top, np.int8)
                nodes.append(helper.make_node("Clip", [whole, f"{name}_low", f"{name}_high"], [f"{name}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], [f"{name}_d"], axis=axis))
        return [f"{name}_d", f"{bias}_d" if folded else bias]

    nodes.append(helper.make_node("Conv", [activation("x"), *weight("w1", "x")], ["c1"], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Relu", ["c1"], ["r1"]))
    nodes.append(helper.make_node("Conv", [activation("r1"), *weight("w2", "r1")], ["c2"], pads=[1, 1, 1, 1], strides=[2, 2], group=16))
    held["zero"], held["thirty"] = np.array(0, np.float32), np.array(30, np.float32)
    nodes.append(helper.make_node("Clip", ["c2", "zero", "thirty"], ["r2"]))
    activation("r2")
    if folded:  # as `fold` pushes what dequantizes behind what moves elements
        nodes[-1] = helper.make_node("Flatten", ["r2_q"], ["f_q"])
        nodes.append(helper.make_node("DequantizeLinear", ["f_q", "r2_s", "r2_z"], ["f"]))
    else:
        nodes.append(helper.make_node("Flatten", ["r2_d"], ["f"]))
    nodes.append(helper.make_node("Gemm", ["f", *weight("w3", "r2")], ["y"]))
    activation("y")
    graph = helper.make_graph(
        nodes,
        "qdq",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [
            helper.make_tensor_value_info("y_d", TensorProto.FLOAT, ["N", 10]),
            helper.make_tensor_value_info("r2_q", TensorProto.UINT8, ["N", 16, 4, 4]),
            helper.make_tensor_value_info("y_q", TensorProto.UINT8, ["N", 10]),
        ],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
