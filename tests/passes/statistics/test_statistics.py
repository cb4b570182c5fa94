"""Moments against numpy's, and layers against what ONNX Runtime computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.errors import DataError
from netwright.ir.shapes import static_shape
from netwright.passes.statistics import Moments, feeds_of, layer_of, moments, pieces, places
from tests.passes.programs import program_of

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'


def drawn(seed: int, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("chunk", [1 << 22, 16])
def test_moments_are_those_of_all_rows_however_they_come(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "CHUNK_ELEMENTS", chunk)
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (50, 4)).astype(np.float32)
    y = x @ rng.normal(size=(4, 2)).astype(np.float32) + 1
    found = Moments(4, 2)
    for start in (0, 7, 30):
        stop = {0: 7, 7: 30, 30: 50}[start]
        found.add(x[start:stop], y[start:stop])
    assert found.count == 50
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.covariance(), np.cov(x.T, bias=True), rtol=1e-5)
    joint = np.cov(np.concatenate([y, x], axis=1).T, bias=True)
    np.testing.assert_allclose(found.cross_covariance(), joint[:2, 2:], rtol=1e-4)
    ones = np.concatenate([x, np.ones((50, 1))], axis=1).astype(np.float64)
    np.testing.assert_allclose(found.augmented(), ones.T @ ones / 50, rtol=1e-6)


LAYERS: Mapping[str, tuple[str, str, dict[str, tuple[int, ...]]]] = {
    "matmul": ("float[2, 5, 6] x", "y = MatMul (x, w)", {"w": (6, 4)}),
    "matmul of a transpose": ("float[5, 6] x", "t = Transpose <perm: ints = [1, 0]> (w)\ny = MatMul (x, t)", {"w": (4, 6)}),
    "matmul from the left": ("float[2, 6, 5] x", "y = MatMul (w, x)", {"w": (4, 6)}),
    "gemm": ("float[5, 6] x", "y = Gemm <transB: int = 1, alpha: float = 0.5> (x, w)", {"w": (4, 6)}),
    "gemm, both turned": ("float[6, 5] x", "y = Gemm <transA: int = 1> (x, w)", {"w": (6, 4)}),
    "conv": ("float[2, 3, 8, 9] x", "y = Conv <pads: ints = [1, 2, 0, 1], strides: ints = [2, 1]> (x, w)", {"w": (4, 3, 3, 2)}),
    "conv, dilated, in groups": (
        "float[2, 6, 9, 9] x",
        "y = Conv <group: int = 3, dilations: ints = [2, 1], pads: ints = [2, 1, 2, 1]> (x, w)",
        {"w": (6, 2, 3, 3)},
    ),
    "conv, upper": (
        "float[2, 3, 8, 8] x",
        'y = Conv <auto_pad: string = "SAME_UPPER", strides: ints = [2, 2]> (x, w)',
        {"w": (4, 3, 3, 3)},
    ),
    "conv, lower": (
        "float[2, 3, 8, 8] x",
        'y = Conv <auto_pad: string = "SAME_LOWER", strides: ints = [2, 2]> (x, w)',
        {"w": (4, 3, 3, 3)},
    ),
    "conv, valid, of one dimension": ("float[2, 3, 9] x", 'y = Conv <auto_pad: string = "VALID"> (x, w)', {"w": (4, 3, 5)}),
    "conv of three dimensions": ("float[1, 2, 4, 5, 6] x", "y = Conv <pads: ints = [1, 1, 1, 1, 1, 1]> (x, w)", {"w": (3, 2, 3, 3, 3)}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_matrix_times_what_its_places_see(name: str) -> None:
    signature, body, shapes = LAYERS[name]
    program = program_of(f"{HEAD}\nlayer ({signature}, WEIGHTS) => (float y) {{ {body} }}", drawn(0, **shapes))
    x = np.random.default_rng(1).normal(size=static_shape(program.inputs[0])).astype(np.float32)
    y = OrtExecutor().run(program, {"x": x})["y"]
    layer = layer_of(next(node for node in program.graph if node.op_type != "Transpose"))
    assert layer is not None
    chosen = places(layer.places(y), 17, 0)
    rows, matrices = layer.rows(x, y, chosen), layer.matrices()
    assert matrices.shape == (layer.groups, layer.outputs // layer.groups, layer.channels * layer.taps)
    made = np.concatenate([part @ matrix.T for part, matrix in zip(rows, matrices, strict=True)], axis=1)
    np.testing.assert_allclose(made, layer.targets(y, chosen), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(layer.with_matrices(matrices), program.value("w").const_value.numpy())  # type: ignore[union-attr]


@pytest.mark.parametrize("body", ["y = MatMul (x, x)", "y = Gemm <alpha: float = 0.0> (x, w)", "y = Relu (x)", "y = MatMul (x, three)"])
def test_what_is_no_layer(body: str) -> None:
    program = program_of(f"{HEAD}\nno (float[6, 6] x, WEIGHTS) => (float y) {{ {body} }}", drawn(0, w=(6, 6), three=(1, 6, 6)))
    assert layer_of(next(iter(program.graph))) is None


def dynamic() -> Program:
    return program_of(f"{HEAD}\nd (float[N, 3] x, WEIGHTS) => (float[N, 2] y) {{ y = MatMul (x, w) }}", drawn(0, w=(3, 2)))


def rows(count: int) -> dict[str, np.ndarray]:
    return {"x": np.arange(3 * count, dtype=np.float32).reshape(count, 3), "labels": np.arange(count)}


def test_pieces_come_from_all_of_the_data() -> None:
    found = pieces(dynamic(), [rows(40), rows(40)], rows=4, most=6, seed=0)
    assert len(found) == 6
    assert all(len(piece["x"]) == len(piece["labels"]) == 4 for piece in found)
    assert all((piece["x"][:, 0] == 3 * piece["labels"]).all() for piece in found)
    wide = pieces(dynamic(), [rows(400)], rows=4, most=20, seed=0)
    assert max(piece["labels"].max() for piece in wide) > 300
    assert [piece["labels"][0] for piece in wide] == sorted(piece["labels"][0] for piece in wide)
    assert all(piece["x"].base is None for piece in wide), "the whole batch would stay in memory"


def test_pieces_of_fixed_inputs_stay_whole() -> None:
    program = program_of(f"{HEAD}\nd (float[8, 3] x, WEIGHTS) => (float[8, 2] y) {{ y = MatMul (x, w) }}", drawn(0, w=(3, 2)))
    assert [len(piece["x"]) for piece in pieces(program, [rows(8), rows(8)], rows=2, most=5, seed=0)] == [8, 8]


def test_no_data_is_an_error() -> None:
    with pytest.raises(DataError, match="no batch"):
        pieces(dynamic(), [], rows=2, most=5, seed=0)


def test_feeds_leave_labels_out() -> None:
    assert [list(feeds) for feeds in feeds_of(dynamic(), [rows(2)])] == [["x"]]


def test_places_are_all_there_are_or_a_draw_in_order() -> None:
    np.testing.assert_array_equal(places(5, 9, 0), np.arange(5))
    found = places(1000, 10, 3)
    assert len(set(found.tolist())) == 10
    np.testing.assert_array_equal(found, np.sort(found))
    np.testing.assert_array_equal(found, places(1000, 10, 3))
