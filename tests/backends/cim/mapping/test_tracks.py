"""An axis that is followed: running places one by one along it gives what running all at once gives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from netwright.backends.cim.mapping.tracks import FOLLOW, follow, window
from netwright.backends.cim.program.model import Reach
from netwright.ir import shapes
from netwright.ir.program import Program
from tests.backends.cim.mapping.graphs import loader, node_of

ONES = {
    "shape": np.array([2, 12]),
    "axes1": np.array([1]),
    "axes0": np.array([0]),
    "b": np.ones((4, 6), np.float32),
    "first": np.array([0]),
    "last": np.array([-1]),
    "far": np.array([2**31]),
    "before": np.array([-(2**31)]),
    "one": np.array([1]),
    "back": np.array([-1]),
}
CASES: list[tuple[str, list[str], Mapping[str, object], tuple[int, ...], int, int | None]] = [
    ("Relu", ["x"], {}, (2, 3, 4), 1, 1),
    ("Add", ["x", "row"], {}, (2, 3, 4), 1, 1),
    ("Add", ["x", "row"], {}, (2, 3, 4), 2, None),
    ("Transpose", ["x"], {"perm": [2, 0, 1]}, (2, 3, 4), 2, 0),
    ("Reshape", ["x", "shape"], {}, (2, 3, 4), 0, 0),
    ("Reshape", ["x", "shape"], {}, (2, 3, 4), 1, None),
    ("Softmax", ["x"], {}, (2, 3, 4), 1, 1),
    ("Softmax", ["x"], {}, (2, 3, 4), 2, None),
    ("ReduceMax", ["x", "axes1"], {"keepdims": 0}, (2, 3, 4), 2, 1),
    ("ReduceMax", ["x", "axes1"], {"keepdims": 0}, (2, 3, 4), 1, None),
    ("MatMul", ["x", "b"], {}, (2, 3, 4), 1, 1),
    ("MatMul", ["x", "b"], {}, (2, 3, 4), 2, None),
    ("Gemm", ["x", "b"], {}, (3, 4), 0, 0),
    ("Unsqueeze", ["x", "axes0"], {}, (2, 3, 4), 1, 2),
    ("Gather", ["x", "axes1"], {"axis": 1}, (2, 3, 4), 2, 2),
    ("Gather", ["x", "axes1"], {"axis": 1}, (2, 3, 4), 1, None),
    ("MaxPool", ["x"], {"kernel_shape": [2, 2]}, (2, 3, 4, 5), 1, 1),
    ("MaxPool", ["x"], {"kernel_shape": [2, 2]}, (2, 3, 4, 5), 2, None),
    ("LayerNormalization", ["x", "row"], {}, (2, 3, 4), 1, 1),
    ("LayerNormalization", ["x", "row"], {}, (2, 3, 4), 2, None),
    ("Concat", ["x", "x"], {"axis": 1}, (2, 3, 4), 2, 2),
    ("Concat", ["x", "x"], {"axis": 2}, (2, 3, 4), 2, None),
    ("Slice", ["x", "first", "far", "axes1"], {}, (2, 3, 4), 1, 1),
    ("Slice", ["x", "first", "far", "axes1", "one"], {}, (2, 3, 4), 1, 1),
    ("Slice", ["x", "last", "before", "axes1", "back"], {}, (2, 3, 4), 1, None),
    ("Slice", ["x", "last", "before", "axes1", "back"], {}, (2, 3, 4), 2, 2),
    ("Slice", ["x", "one", "far", "axes1"], {}, (2, 3, 4), 1, None),
]


def program_of(op: str, names: list[str], attributes: Mapping[str, object], shape: tuple[int, ...]) -> Program:
    """One node on x of a shape."""
    held = {**ONES, "row": np.arange(4, dtype=np.float32)}
    weights = [numpy_helper.from_array(held[name], name) for name in dict.fromkeys(names) if name != "x"]
    x, y = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape), helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node_of(op, names, ["y"], attributes)], "one", [x], [y], weights)
    found = Program(onnx_ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)))
    shapes.infer(found)
    return found


@pytest.mark.parametrize(("op", "names", "attributes", "shape", "axis", "made"), CASES)
def test_an_axis_is_followed_where_places_stay_apart(
    op: str, names: list[str], attributes: Mapping[str, object], shape: tuple[int, ...], axis: int, made: int | None
) -> None:
    program = program_of(op, names, attributes, shape)
    node = next(iter(program.graph))
    found = follow(node, tuple(axis if name == "x" else None for name in names))
    assert found == (None if made is None else (made,))
    if made is None or op == "Reshape":
        return
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    whole = loader(program)({"x": x})["y"]
    one = program_of(op, names, attributes, tuple(1 if place == axis else size for place, size in enumerate(shape)))
    run = loader(one)
    parts = [run({"x": np.take(x, [place], axis)})["y"] for place in range(shape[axis])]
    np.testing.assert_allclose(np.concatenate(parts, made), whole, rtol=1e-6)


@pytest.mark.parametrize(("kernel", "stride", "pad", "dilation"), [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 2), (1, 1, 0, 1)])
def test_a_pooling_needs_its_window_and_no_more(kernel: int, stride: int, pad: int, dilation: int) -> None:
    attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4, "dilations": [dilation] * 2}
    program = program_of("MaxPool", ["x"], attributes, (1, 1, 12, 12))
    reach = window(next(iter(program.graph)), 2)
    assert reach is not None
    run = loader(program)
    x = np.random.default_rng(1).normal(size=(1, 1, 12, 12)).astype(np.float32)
    whole = run({"x": x})["y"]
    for row in range(whole.shape[2]):
        first, last = row * reach.stride + reach.first, row * reach.stride + reach.last
        kept = np.full_like(x, 1e9)
        kept[:, :, max(first, 0) : last + 1] = x[:, :, max(first, 0) : last + 1]
        np.testing.assert_array_equal(run({"x": kept})["y"][:, :, row], whole[:, :, row])
        if 0 <= last < 12:
            kept[:, :, last] = 1e9
            assert (run({"x": kept})["y"][:, :, row] != whole[:, :, row]).any()


def test_reaches_compose() -> None:
    assert Reach(2, 2, -1).after(Reach(3, 1, -1)) == Reach(6, 7, -4)
    assert Reach().after(Reach(0, whole=True)).whole


def test_every_rule_is_of_a_known_operator() -> None:
    from netwright.ir.opinfo import operators

    known = {name for _, name in operators()} | {
        "CrossbarMatMul",
        "Im2Col",
        "Requantize",
        "SimplifiedLayerNormalization",
        "RMSNormalization",
    }
    assert not set(FOLLOW) - known
