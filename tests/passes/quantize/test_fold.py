"""`fold`: integers meet, and what no kernel uses goes. Q(x) stands for QuantizeLinear, D(q) for DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir
import pytest

from netwright.backends.onnxruntime import OrtKernels
from netwright.ir import Program
from netwright.ir.maps import Cast
from netwright.passes import Context, Outcome, run
from netwright.passes.quantize.folding import Fold
from tests.passes.quantize.helpers import evaluate, normal, ops
from tests.passes.quantize.static_helpers import graph, kernels, weights

SCALES = {"s": 0.05, "t": 0.1, "tiny": 0.001}
ZEROS = {"z": np.array(100, np.uint8), "none": np.array(0, np.uint8)}


def folding(
    body: str, result: str = "float y", inputs: str = "float[N, 4, 6, 6] x", held: Mapping[str, np.ndarray] | None = None
) -> tuple[Program, Outcome]:
    """A graph with the scales s, t, tiny, the zero points z, none, and weights; and what fold makes of it."""
    arrays = {**{name: np.array(one, np.float32) for name, one in SCALES.items()}, **ZEROS, **(held or {})}
    program = graph(body, result, inputs, arrays)
    return program, run(program, [Fold()], Context(), verify_each=True)


def same(program: Program, outcome: Outcome, *, step: float = 0.0) -> None:
    """The first output stays, to within so much."""
    feeds = {"x": normal(2, 4, 6, 6)}
    before, after = evaluate(program, feeds)[0], evaluate(outcome.program, feeds)[0]
    assert np.abs(before.astype(np.float64) - after.astype(np.float64)).max() <= step + 1e-6


PUT, TAKEN = "q = QuantizeLinear (x, s, z)", "d = DequantizeLinear (q, s, z)"
AGAIN = "y = QuantizeLinear (m, s, z)"


@pytest.mark.parametrize(
    ("mover", "left"),
    [
        ("m = Transpose <perm: ints = [0, 2, 3, 1]> (d)", ["Transpose", "QuantizeLinear"]),
        ("m = Flatten (d)", ["Flatten", "QuantizeLinear"]),
        ("m = MaxPool <kernel_shape: ints = [2, 2]> (d)", ["QuantizeLinear", "MaxPool"]),
        ("i = Constant <value: tensor = int64[2] {0, 2}> ()  m = Gather <axis: int = 1> (d, i)", ["Constant", "QuantizeLinear", "Gather"]),
        (
            "p = Constant <value: tensor = int64[8] {0, 0, 1, 1, 0, 0, 1, 1}> ()  m = Pad (d, p)",
            ["Constant", "QuantizeLinear", "Pad"],
        ),
        ("m = Relu (d)", ["QuantizeLinear", "Clip"]),
        ("m = SpaceToDepth <blocksize: int = 2> (d)", ["SpaceToDepth", "QuantizeLinear"]),
        ("m = Concat <axis: int = 1> (d, d)", ["QuantizeLinear", "Concat"]),
    ],
)
def test_integers_go_through_what_moves_them(mover: str, left: list[str]) -> None:
    program, outcome = folding(f"{PUT}  {TAKEN}  {mover}  {AGAIN}", "uint8 y")
    assert sorted(ops(outcome.program)) == sorted(left)
    same(program, outcome)


def test_each_part_of_a_split() -> None:
    program, outcome = folding(
        f"{PUT}  {TAKEN}  a, b = Split <axis: int = 1, num_outputs: int = 2> (d)  m = Concat <axis: int = 1> (b, a)  {AGAIN}", "uint8 y"
    )
    assert ops(outcome.program) == ["QuantizeLinear", "Split", "Concat"]
    same(program, outcome)


def test_two_grids_become_the_second() -> None:
    program, outcome = folding("q = QuantizeLinear (x, t, z)  m = DequantizeLinear (q, t, z)  y = QuantizeLinear (m, s, z)", "uint8 y")
    assert ops(outcome.program) == ["QuantizeLinear"]
    same(program, outcome, step=1)


def test_a_narrower_grid_before_is_kept_for_what_it_cuts() -> None:
    pool = f"{PUT}  {TAKEN}  a = AveragePool <kernel_shape: ints = [2, 2]> (d)"
    program, outcome = folding(f"{pool}  p = QuantizeLinear (a, tiny, z)  m = DequantizeLinear (p, tiny, z)  {AGAIN}", "uint8 y")
    assert ops(outcome.program) == ops(program)


def test_what_is_joined_goes_on_the_grid_of_the_whole() -> None:
    body = f"""{PUT}  {TAKEN}  r = Abs (x)  p = QuantizeLinear (r, t, z)  e = DequantizeLinear (p, t, z)
    m = Concat <axis: int = 1> (d, e)  {AGAIN}"""
    program, outcome = folding(body, "uint8 y")
    assert sorted(ops(outcome.program)) == ["Abs", "Concat", "QuantizeLinear", "QuantizeLinear"]
    same(program, outcome, step=1)


@pytest.mark.parametrize(
    ("bound", "zero", "goes"),
    [
        ("r = Relu (x)", "none", True),
        ("r = Relu (x)", "z", False),
        ("r = Clip (x, low, high)", "none", False),
        ("r = Clip (x, low, top)", "none", True),
    ],
)
def test_a_bound_that_the_grid_has(bound: str, zero: str, goes: bool) -> None:
    limits = {name: np.array(one, np.float32) for name, one in (("low", 0), ("high", 1), ("top", 255 * 0.05))}
    program, outcome = folding(f"{bound}  y = QuantizeLinear (r, s, {zero})", "uint8 y", held=limits)
    assert (ops(outcome.program) == ["QuantizeLinear"]) == goes
    same(program, outcome)


def test_a_factor_is_one_of_the_scale() -> None:
    program, outcome = folding(f"{PUT}  {TAKEN}  y = Mul (d, c)", held={"c": np.array(0.5, np.float32)})
    assert ops(outcome.program) == ["Mul"]
    same(program, outcome, step=0.05)
    program, outcome = folding(
        f"{PUT}  {TAKEN}  m = Mul (d, two)  y = QuantizeLinear (m, t, z)", "uint8 y", held={"two": np.array(2, np.float32)}
    )
    assert ops(outcome.program) == ["QuantizeLinear"]
    same(program, outcome)


@pytest.mark.parametrize(("step", "folds"), [(2.5 / 50, True), (0.07, False)])
def test_hard_sigmoid_on_a_grid_of_its_bounds(step: float, folds: bool) -> None:
    body = "q = QuantizeLinear (x, g, z)  d = DequantizeLinear (q, g, z)  h = HardSigmoid (d)  y = Mul (h, d)"
    program, outcome = folding(body, held={"g": np.array(step, np.float32)})
    assert ("HardSigmoid" not in ops(outcome.program)) == folds
    same(program, outcome, step=0.2)


def test_pairs_that_no_kernel_uses_go() -> None:
    program, outcome = folding(f"{PUT}  {TAKEN}  y = Exp (d)")
    assert ops(outcome.program) == ["Exp"]
    assert outcome.program.ledger.actions[-1].why == "no kernel uses these integers"
    same(program, outcome, step=0.1 * float(np.exp(np.abs(normal(2, 4, 6, 6)).max())))


CONV = """q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  k = QuantizeLinear <axis: int = 0> (w, sw, zw)
v = DequantizeLinear <axis: int = 0> (k, sw, zw)  c = Conv (d, v, b)  o = QuantizeLinear (c, t, z)  y = DequantizeLinear (o, t, z)"""


def test_trained_weights_and_biases_become_integers() -> None:
    held: dict[str, np.ndarray] = {**weights(w=(5, 4, 3, 3), b=(5,)), "zw": np.zeros(5, np.int8)}
    held["sw"] = (np.abs(held["w"]).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    program, outcome = folding(CONV, held=held)
    types = {name: value.dtype for name, value in outcome.program.graph.initializers.items()}
    assert types["k"] == onnx_ir.DataType.INT8
    assert onnx_ir.DataType.INT32 in types.values()
    assert not {"w", "b"} & set(types)
    (mapped,) = [action.maps["k"] for action in outcome.program.ledger.actions if "k" in action.maps]
    assert isinstance(mapped.map, Cast)
    integers = outcome.program.graph.initializers["k"].const_value
    assert integers is not None
    assert np.array_equal(mapped.map.apply(held["w"]), integers.numpy())
    assert kernels(outcome.program).integer == {"QLinearConv": 1}
    assert ops(run(outcome.program, [Fold()], Context()).program) == ops(outcome.program)
    same(program, outcome, step=0.1)


def test_a_bias_beyond_int32_stays_float_and_says_so() -> None:
    held = {**weights(w=(5, 4, 3, 3), b=(5,)), "zw": np.zeros(5, np.int8), "sw": np.full(5, 1e-12, np.float32)}
    _, outcome = folding(CONV, held=held)
    assert "steps of its operands' scales, over 2**31" in outcome.rows[0].misses[0].reason


def test_a_weight_turned_behind_its_integers_is_stored_turned() -> None:
    body = "v = DequantizeLinear <axis: int = 0> (k, sw)  w = Transpose <perm: ints = [1, 0]> (v)  y = MatMul (x, w)"
    held = {"k": np.arange(24, dtype=np.int8).reshape(4, 6), "sw": np.linspace(0.1, 0.4, 4, dtype=np.float32)}
    program, outcome = folding(body, inputs="float[N, 6] x", held=held)
    assert ops(outcome.program) == ["DequantizeLinear", "MatMul"]
    feeds = {"x": normal(3, 6)}
    assert np.array_equal(evaluate(program, feeds)[0], evaluate(outcome.program, feeds)[0])


DEEP = """q = QuantizeLinear (x, s, none)  d = DequantizeLinear (q, s, none)
    wd = DequantizeLinear <axis: int = 0> (w, ws, wz)  c = Conv <pads: ints = [1, 1, 1, 1]> (d, wd)"""


def convolved(body: str, result: str) -> tuple[Program, Outcome]:
    draw = np.random.default_rng(0)
    held = {
        "w": draw.integers(-127, 128, (8, 4, 3, 3)).astype(np.int8),
        "ws": draw.uniform(0.002, 0.004, 8).astype(np.float32),
        "wz": np.zeros(8, np.int8),
        "lower": np.array(-0.53, np.float32),
        "upper": np.array(1.537, np.float32),
        "spot": np.array([2, 3], np.int64),
    }
    return folding(f"{DEEP}  {body}", result, held=held)


@pytest.mark.parametrize("bound", ["Clip (c, lower, upper)", "Clip (c, lower)", "Relu (c)"])
def test_a_bound_within_the_grid_cuts_integers_off(bound: str) -> None:
    """As learned scales leave it: the convolution stays one kernel with its quantizer, and its integers are the same."""
    program, outcome = convolved(f"m = {bound}  r = QuantizeLinear (m, t, z)  y = DequantizeLinear (r, t, z)", "float y")
    assert ops(outcome.program).count("Clip") == 1
    report = kernels(outcome.program)
    assert report.integer == {"QLinearConv": 1}
    assert not report.floating
    fine, coarse = (evaluate(one, {"x": normal(2, 4, 6, 6)})[0] for one in (program, outcome.program))
    assert np.abs(fine - coarse).max() < 0.11
    assert np.mean(fine != coarse) < 0.01
    assert len(np.unique(coarse)) > 10


@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_mean_over_all_positions_is_a_pool(keepdims: int) -> None:
    body = f"""r = QuantizeLinear (c, t, z)  e = DequantizeLinear (r, t, z)  m = ReduceMean <keepdims: int = {keepdims}> (e, spot)
        v = QuantizeLinear (m, t, z)  y = DequantizeLinear (v, t, z)"""
    program, outcome = convolved(body, "float y")
    assert "ReduceMean" not in ops(outcome.program)
    assert kernels(outcome.program).integer == {"QLinearConv": 1, "QLinearGlobalAveragePool": 1}
    same(program, outcome, step=0.1)


def test_fold_tells_what_runs_in_float() -> None:
    program, _ = convolved("y = Tanh (c)", "float y")
    told = run(program, [Fold()], Context(kernels=OrtKernels())).program.ledger.misses
    assert [miss.reason for miss in told] == ["runs as a float FusedConv although its operands are integers: the runtime has not fused it"]
    assert not run(program, [Fold()], Context()).program.ledger.misses
