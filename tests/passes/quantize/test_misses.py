"""Each site left float is listed with its reason."""

from __future__ import annotations

import numpy as np
import onnx_ir
import pytest

from netwright.ir import origin
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, linear, normal, ops, quantized, reasons


@pytest.mark.parametrize(
    ("body", "weights", "said"),
    [
        ("y = MatMul (x, x)", {}, "both operands, %x and %x, are computed"),
        ("y = MatMul (w, x)", {"w": (64, 64)}, "the weight %w stands on the left"),
        ("y = MatMul (x, w)", {"w": (1, 64, 64)}, "has 3 dimensions, and 2 are handled"),
        ("y = MatMul (x, w)", {"w": (64,)}, "has 1 dimensions, and 2 are handled"),
        ("y = MatMul (x, w)", {"w": (64, 32)}, "64 x 32 elements, under 4096"),
        ("y = MatMul (x, w)", {"w": (64, 8)}, "64 x 8 elements, under 4096"),
    ],
)
def test_products(body: str, weights: dict[str, tuple[int, ...]], said: str) -> None:
    text = f"{HEAD} g (float[64, 64] x, WEIGHTS) => (float y) {{ {body} }}".replace(", WEIGHTS", ", WEIGHTS" if weights else "")
    program = program_of(text, {name: normal(*shape) for name, shape in weights.items()})
    outcome = quantized(program, scheme="dynamic")
    assert said in reasons(outcome)["y"]
    assert outcome.rows[0].actions == 0


def test_a_gemm_of_two_activations() -> None:
    program = program_of(f"{HEAD} g (float[64, 64] x) => (float[64, 64] y) {{ y = Gemm (x, x) }}", {})
    assert "the weight %x is not constant" in reasons(quantized(program, scheme="dynamic"))["y"]


def test_a_head_of_few_outputs() -> None:
    assert "8 output channels, under 16" in reasons(quantized(linear(rows=1024, columns=8), scheme="dynamic"))["t"]


def test_convolutions_of_every_kind() -> None:
    weights = {"w": normal(8, 3, 3, 3), "v": normal(8, 3, 3, 3)}
    text = f"{HEAD} g (float[N, 3, 8, 8] x, WEIGHTS) => (float y) {{ a = Conv (x, w)  y = ConvTranspose (a, v) }}"
    found = reasons(quantized(program_of(text, weights), scheme="dynamic"))
    assert "ConvInteger runs at 0.1 to 0.34 times" in found["a"]
    assert "no integer kernel for ConvTranspose" in found["y"]


def test_tables() -> None:
    text = f"""{HEAD} g (int64[N] ids, WEIGHTS) => (float[N, 8] y, float z)
    {{ y = Gather (small, ids)  z = Gather <axis: int = 1> (large, ids) }}"""
    program = program_of(text, {"small": normal(100, 8), "large": normal(1024, 128)})
    found = reasons(quantized(program, scheme="dynamic"))
    assert "its table has 100 x 8 elements, under 65536" in found["y"]
    assert "it takes columns, not rows, of %large" in found["z"]


def test_a_float64_model() -> None:
    text = f"{HEAD} g (double[N, 64] x, double[64, 64] w) => (double[N, 64] y) {{ y = MatMul (x, w) }}"
    program = program_of(text, {})
    value = program.graph.inputs.pop()
    value.const_value = onnx_ir.Tensor(np.zeros((64, 64)), name="w")
    program.graph.register_initializer(value)
    assert "is double; float32, float16 and bfloat16 are handled" in reasons(quantized(program, scheme="dynamic"))["y"]


def test_weights_that_a_caller_may_replace() -> None:
    program = linear(bias=False)
    program.graph.inputs.append(program.value("w"))
    assert "%x and %w, are computed" in reasons(quantized(program, scheme="dynamic"))["y"]


@pytest.mark.parametrize("scheme", ["dynamic", "weights"])
def test_weights_that_are_not_finite(scheme: str) -> None:
    weight = normal(64, 64)
    weight[3, 5] = np.inf
    program = program_of(f"{HEAD} g (float[N, 64] x, WEIGHTS) => (float[N, 64] y) {{ y = MatMul (x, w) }}", {"w": weight})
    assert "holds values that are not finite" in reasons(quantized(program, scheme=scheme))["y"]


def test_shape_arithmetic_is_none_of_its_business() -> None:
    text = f"""{HEAD} g (float[N, 64] x, WEIGHTS) => (int64[1] n)
    {{ s = Shape (x)  n = Gather (s, zero) }}"""
    outcome = quantized(program_of(text, {"zero": np.array([0], np.int64)}), scheme="dynamic")
    assert outcome.rows[0].misses == []


def test_excluded_by_site_and_by_module() -> None:
    program = linear()
    next(program.nodes("MatMul")).metadata_props[origin.MODULE] = "encoder.head"
    for pattern in ("t", "encoder.*"):
        outcome = quantized(program, scheme="dynamic", exclude=pattern)
        assert f"exclude names it ('{pattern}'" in reasons(outcome)["t"]
        assert "MatMul" in ops(outcome.program)
    assert quantized(program, scheme="dynamic", exclude="decoder.*").rows[0].actions == 1


def test_sites_inside_functions() -> None:
    text = """<ir_version: 10, opset_import: ["" : 20, "own" : 1]>
    g (float[N, 64] x) => (float[N, 64] y) { y = own.layer (x) }
    <domain: "own", opset_import: ["" : 20]> layer (a) => (b)
    { w = Constant <value: tensor = float[1, 4] {1.0, 2.0, 3.0, 4.0}> ()  b = MatMul (a, w) }"""
    program = program_of(text, {})
    assert "inside the function layer; inline the function first" in reasons(quantized(program, scheme="dynamic"))["b"]
