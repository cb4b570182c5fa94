"""Static quantization: what comes out is near float, and runs on integer kernels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from netwright.ir import Program
from netwright.passes import Context, run
from netwright.passes.quantize.choice import Static
from netwright.passes.quantize.static import activations_of, left_float
from tests.passes.quantize.helpers import normal, ops
from tests.passes.quantize.static_helpers import (
    StaticAll,
    grids_of,
    kernels,
    network,
    output,
    quantized,
    relative,
    span,
    units,
    weights,
)

CONV = "Conv <pads: ints = [1, 1, 1, 1]>"
IMAGE = ("float[N, 8, 12, 12] x", (2, 8, 12, 12))
ROWS = ("float[N, 64] x", (5, 64))
STEPS = ("float[N, T, 64] x", (2, 3, 64))
W, V, B = (8, 8, 3, 3), (8, 8, 3, 3), (8,)

CASES: dict[str, tuple[tuple[str, tuple[int, ...]], str, dict[str, tuple[int, ...]], dict[str, int]]] = {
    "convolutions": (IMAGE, f"c = {CONV} (x, w, b)  r = Relu (c)  y = {CONV} (r, v)", {"w": W, "b": B, "v": V}, {"QLinearConv": 2}),
    "depthwise": (
        IMAGE,
        "c = Conv <group: int = 8, pads: ints = [1, 1, 1, 1]> (x, w, b)  r = Relu (c)  y = Conv (r, v)",
        {"w": (8, 1, 3, 3), "b": B, "v": (8, 8, 1, 1)},
        {"QLinearConv": 2},
    ),
    "one dimension": (
        ("float[N, 8, T] x", (2, 8, 30)),
        "c = Conv <pads: ints = [1, 1]> (x, w, b)  r = Relu (c)  y = Conv (r, v)",
        {"w": (8, 8, 3), "b": B, "v": (4, 8, 3)},
        {"QLinearConv": 2},
    ),
    "residual": (
        IMAGE,
        f"""c = {CONV} (x, w, b)  r = Relu (c)  d = {CONV} (r, v)  s = Add (d, r)  t = Relu (s)  e = Concat <axis: int = 1> (t, r)
        m = MaxPool <kernel_shape: ints = [2, 2]> (e)  a = AveragePool <kernel_shape: ints = [2, 2]> (m)  y = Conv (a, u)""",
        {"w": W, "b": B, "v": V, "u": (4, 16, 1, 1)},
        {"QLinearConv": 3, "QLinearAdd": 1, "QLinearConcat": 1, "QLinearAveragePool": 1},
    ),
    "squeeze and excite": (
        IMAGE,
        f"""c = {CONV} (x, w, b)  g = Sigmoid (c)  s = Mul (c, g)  p = GlobalAveragePool (s)  q = Conv (p, v)  r = Relu (q)
        z = Conv (r, v)  h = Sigmoid (z)  m = Mul (s, h)  y = Conv (m, v, b)""",
        {"w": W, "b": B, "v": (8, 8, 1, 1)},
        {"QLinearConv": 4, "QLinearSigmoid": 2, "QLinearMul": 2, "QLinearGlobalAveragePool": 1},
    ),
    "hard swish": (
        IMAGE,
        f"c = {CONV} (x, w, b)  h = HardSigmoid <alpha: float = 0.16666667> (c)  s = Mul (c, h)  t = HardSwish (s)  y = {CONV} (t, v)",
        {"w": W, "b": B, "v": V},
        {"QLinearConv": 2, "QLinearMul": 2},
    ),
    "activation before a sum": (
        IMAGE,
        f"""c = {CONV} (x, w, b)  r = Relu (c)  d = {CONV} (r, w)  s = Add (d, c)  t = Relu (s)  e = {CONV} (t, w)
        f = Add (e, s)  y = LeakyRelu (f)""",
        {"w": W, "b": B},
        {"QLinearConv": 3, "QLinearAdd": 1},
    ),
    "flattened": (
        IMAGE,
        f"c = {CONV} (x, w, b)  r = Relu (c)  f = Flatten (r)  y = Gemm <transB: int = 1> (f, v, b)",
        {"w": W, "b": B, "v": (8, 1152)},
        {"QLinearConv": 1, "QGemm": 1},
    ),
    "views": (
        ("float[N, 8, 4, 4] x", (2, 8, 4, 4)),
        """t = Transpose <perm: ints = [0, 3, 1, 2]> (x)  c = Conv <pads: ints = [1, 1, 0, 0]> (t, w, b)
        p, q = Split <axis: int = 1, num_outputs: int = 2> (c)  k = Concat <axis: int = 1> (q, p)  z = Conv (k, u)
        r = Transpose <perm: ints = [0, 2, 3, 1]> (z)  y = MatMul (r, v)""",
        {"w": (8, 4, 2, 2), "b": B, "u": (8, 8, 1, 1), "v": (8, 128)},
        {"QLinearConv": 2, "MatMulIntegerToFloat": 1},
    ),
    "matrix": (ROWS, "c = MatMul (x, w)  y = Add (c, b)", {"w": (64, 64), "b": (64,)}, {"QGemm": 1}),
    "batch of matrices": (STEPS, "c = MatMul (x, w)  y = Add (b, c)", {"w": (64, 64), "b": (64,)}, {"MatMulIntegerToFloat": 1}),
    "two layers": (
        ROWS,
        "c = MatMul (x, w)  a = Add (c, b)  r = Relu (a)  y = MatMul (r, v)",
        {"w": (64, 64), "b": (64,), "v": (64, 64)},
        {"QGemm": 1, "MatMulIntegerToFloat": 1},
    ),
    "two layers of batches": (
        STEPS,
        "c = MatMul (x, w)  a = Add (c, b)  r = Relu (a)  d = MatMul (r, v)  y = Add (d, b)",
        {"w": (64, 64), "b": (64,), "v": (64, 64)},
        {"MatMulIntegerToFloat": 2},
    ),
    "transposed, with alpha and beta": (
        ("float[64, N] x", (64, 5)),
        "y = Gemm <transA: int = 1, transB: int = 1, alpha: float = -0.5, beta: float = 2.0> (x, w, b)",
        {"w": (32, 64), "b": (32,)},
        {"QGemm": 1},
    ),
    "no bias": (ROWS, "y = Gemm <transB: int = 1, alpha: float = 0.5> (x, w)", {"w": (32, 64)}, {"MatMulIntegerToFloat": 1}),
    "computed bias": (
        ROWS,
        """c = Gemm <transB: int = 1> (x, w, b)  d = Gemm <beta: float = 0.5> (c, v, c)  e = ReduceMax (d)  f = MatMul (d, v)
        y = Add (f, e)""",
        {"w": (64, 64), "b": (1, 64), "v": (64, 64)},
        {"QGemm": 1, "MatMulIntegerToFloat": 2},
    ),
    "read before its bias": (
        ROWS, "c = MatMul (x, w)  d = Add (c, b)  y = Mul (c, d)", {"w": (64, 64), "b": (64,)}, {"MatMulIntegerToFloat": 1},
    ),
}  # fmt: skip


def made(case: str) -> tuple[Program, Mapping[str, np.ndarray]]:
    (signature, shape), body, shapes, _ = CASES[case]
    return network(signature, body, weights(**shapes)), {"x": normal(*shape, seed=3)}


@pytest.mark.parametrize("case", CASES)
def test_near_float_on_integer_kernels(case: str) -> None:
    program, feeds = made(case)
    outcome = quantized(program, feeds)
    report = kernels(outcome.program)
    assert report.integer == CASES[case][3]
    assert report.floating == {}
    assert list(left_float(outcome.program, report)) == []
    assert relative(output(outcome.program, feeds), output(program, feeds)) < 0.05
    assert [value.name for value in outcome.program.initializers() if not value.uses()] == []


@pytest.mark.parametrize("case", CASES)
def test_trained_in_float_and_folded_is_the_same_bit_for_bit(case: str) -> None:
    program, feeds = made(case)
    once, later = quantized(program, feeds), quantized(program, feeds, trainable=True)
    assert ops(once.program) == ops(later.program)
    assert np.array_equal(output(once.program, feeds), output(later.program, feeds))


def reference_conv(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """3 x 3, padded by 1, in integers."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, w) + b[:, None, None]


def test_the_numbers_are_those_of_integer_arithmetic() -> None:
    held = weights(w=W, b=B)
    program, feeds = network(IMAGE[0], f"c = {CONV} (x, w, b)  y = Relu (c)", held), {"x": normal(*IMAGE[1], seed=3)}
    grids = grids_of(program, feeds)
    before, after = grids["x"], grids["y"]
    x = np.clip(np.rint(feeds["x"] / np.float32(before.scale)) + before.zero_point, 0, 255).astype(np.int64) - before.zero_point
    scale = np.abs(held["w"]).max(axis=(1, 2, 3)) / np.float32(127)
    w = np.rint(held["w"] / scale[:, None, None, None].astype(np.float64)).astype(np.int64)
    step = scale * np.float32(before.scale)
    total = reference_conv(x, w, np.rint(held["b"] / step.astype(np.float64)).astype(np.int64)) * step[:, None, None].astype(np.float64)
    expected = np.clip(np.rint(total / after.scale) + after.zero_point, 0, 255)
    found = output(quantized(program, feeds).program, feeds) / np.float32(after.scale) + after.zero_point
    difference = np.abs(np.rint(found) - expected)
    assert difference.max() <= 1  # halves may round the other way in float32
    assert (difference > 0).mean() < 0.002


def test_a_shared_weight_is_stored_once() -> None:
    body = f"c = {CONV} (x, w, b)  r = Relu (c)  d = {CONV} (r, w)  t = Relu (d)  y = {CONV} (t, w)"
    program, feeds = network(IMAGE[0], body, weights(w=W, b=B)), {"x": normal(*IMAGE[1], seed=3)}
    outcome = quantized(program, feeds)
    stored = [value for value in outcome.program.initializers() if value.const_value is not None and value.const_value.size == 8 * 72]
    assert len(stored) == 1
    assert kernels(outcome.program).integer == {"QLinearConv": 3}


def test_a_bias_without_room_in_int32_raises_its_scale() -> None:
    held = weights(w=W, b=B)
    held["w"][2] *= 1e-12
    program, feeds = network(IMAGE[0], f"y = {CONV} (x, w, b)", held), {"x": normal(*IMAGE[1], seed=3)}
    outcome = quantized(program, feeds)
    found, expected = output(outcome.program, feeds), output(program, feeds)
    assert np.abs(found[:, 2] - expected[:, 2]).max() < grids_of(program, feeds)["y"].scale


@pytest.mark.parametrize("opset", range(18, 24))
def test_opsets(opset: int) -> None:
    program, feeds = made("convolutions")
    program.model.opset_imports[""] = opset
    assert kernels(quantized(program, feeds).program).integer == {"QLinearConv": 2}


def test_inside_branches() -> None:
    text = """float[N, 64] x, bool flag"""
    body = """y = If (flag) <then_branch = t () => (float[N, 64] p) { p = MatMul (x, w) },
        else_branch = e () => (float[N, 64] q) { q = Add (x, x) }>"""
    program = network(text, body, weights(w=(64, 64)))
    feeds = {"x": normal(5, 64, seed=3), "flag": np.array(True)}
    grids = {"x": span(float(feeds["x"].min()), float(feeds["x"].max()))}
    assert activations_of(program, units(program)) == ("x",)
    outcome = run(program, [StaticAll(grids=grids)], Context(), verify_each=True)
    assert outcome.rows[0].actions == 1
    assert 0 < relative(output(outcome.program, feeds), output(program, feeds)) < 0.05
    assert kernels(outcome.program).integer == {"MatMulIntegerToFloat": 1}


def test_without_a_grid_it_stays_float_and_says_so() -> None:
    program, feeds = made("residual")
    grids = grids_of(program, feeds)
    del grids["r"]
    outcome = run(program, [StaticAll(grids=grids)], Context(), verify_each=True)
    found = {miss.site: miss.reason for miss in outcome.rows[0].misses}
    assert found["c"] == "left float: there is no grid for %r (the plan's activation:r)"
    assert relative(output(outcome.program, feeds), output(program, feeds)) < 0.05


@pytest.mark.parametrize(
    ("signature", "body", "shapes", "said"),
    [
        ("float[64] x", "y = MatMul (x, w)", {"w": (64, 64)}, "its activation has 1 dimensions"),
        ("float[N, 8, 4, 4] x, float[8] z", "y = Conv (x, w, z)", {"w": (8, 8, 1, 1)}, "its bias %z is computed"),
    ],
)
def test_what_static_quantization_does_not_take(signature: str, body: str, shapes: dict[str, tuple[int, ...]], said: str) -> None:
    program = network(signature, body, weights(**shapes))
    names = activations_of(program, units(program))
    outcome = run(program, [StaticAll(grids=dict.fromkeys(names, span(-1, 1)))], Context())
    assert [said in miss.reason for miss in outcome.rows[0].misses] == [True]
    assert outcome.rows[0].actions == 0


@pytest.mark.parametrize(
    ("attributes", "size", "kernel"),
    [
        ("pads: ints = [3, 3, 3, 3]", 16, 7),
        ("pads: ints = [1, 1, 1, 1]", 16, 3),
        ("pads: ints = [0, 0, 1, 1]", 16, 3),
        ('auto_pad: string = "SAME_LOWER"', 15, 3),
        ("pads: ints = [2, 2, 2, 2]", 17, 5),
        ("pads: ints = [0, 0, 0, 0]", 16, 2),
    ],
)
def test_a_folded_stride_changes_no_bit(attributes: str, size: int, kernel: int) -> None:
    body = f"c = Conv <strides: ints = [2, 2], {attributes}> (x, w, b)  y = Relu (c)"
    program = network(f"float[N, 3, {size}, {size}] x", body, weights(w=(8, 3, kernel, kernel), b=B))
    feeds = {"x": normal(2, 3, size, size, seed=3)}
    plain, folded = quantized(program, feeds), quantized(program, feeds, choice=Static(fold_stride=True))
    assert "SpaceToDepth" in ops(folded.program)
    assert np.array_equal(output(plain.program, feeds), output(folded.program, feeds))
    assert kernels(folded.program).conversions == {"QuantizeLinear": 1, "DequantizeLinear": 1}


def test_a_stride_that_cannot_be_folded_says_why() -> None:
    program = network(IMAGE[0], "y = Conv <strides: ints = [2, 2]> (x, w)", weights(w=W))
    outcome = quantized(program, {"x": normal(*IMAGE[1], seed=3)}, choice=Static(fold_stride=True))
    assert "8 input channels (up to 4 gain)" in outcome.rows[0].misses[0].reason
