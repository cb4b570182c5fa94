"""Small models that the storage tests read and write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def chain(*weights: onnx.TensorProto, opset: int = 20) -> onnx.ModelProto:
    """One Identity a weight."""
    nodes = [helper.make_node("Identity", [weight.name], [f"{weight.name}.out"], name=f"read.{weight.name}") for weight in weights]
    outputs = [helper.make_tensor_value_info(f"{weight.name}.out", weight.data_type, weight.dims) for weight in weights]
    graph = helper.make_graph(nodes, "chain", [], outputs, list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def weight(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    """A random weight, stored as raw data."""
    array = np.random.default_rng(seed).normal(0, 50, shape).astype(np.float32)
    return numpy_helper.from_array(array, name)


def branches() -> onnx.ModelProto:
    """Weights inside both branches of an If, and inside a model-local function's Constant."""
    then = helper.make_graph([helper.make_node("Identity", ["w"], ["t"])], "then", [], [_info("t")], [weight("w", 30, 20, seed=1)])
    other = helper.make_graph([helper.make_node("Constant", [], ["e"], value=weight("", 30, 20, seed=2))], "else", [], [_info("e")])
    nodes = [
        helper.make_node("If", ["c"], ["chosen"], then_branch=then, else_branch=other),
        helper.make_node("shift", ["chosen"], ["y"], domain="local"),
    ]
    function = helper.make_function(
        "local",
        "shift",
        ["a"],
        ["b"],
        [helper.make_node("Constant", [], ["k"], value=weight("", 30, 20, seed=3)), helper.make_node("Add", ["a", "k"], ["b"])],
        [helper.make_opsetid("", 20)],
    )
    graph = helper.make_graph(nodes, "branches", [helper.make_tensor_value_info("c", TensorProto.BOOL, [])], [_info("y")])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=10)


def saved(model: onnx.ModelProto, path: Path, *, external: bool = False) -> Path:
    """The model's file, as the onnx package writes it."""
    onnx.save(model, path, save_as_external_data=external, location=f"{path.name}.data", size_threshold=0)
    return path


def _info(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [30, 20])
