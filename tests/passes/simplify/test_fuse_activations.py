# ruff: noqa: E501 (a graph reads best with its nodes on one line)
"""Activations spelt out become the standard's operators where the opset has them."""

from __future__ import annotations

import pytest

from tests.passes.simplify.support import simplify

CONSTANTS = "".join(
    f"{name} = Constant<value_float: float = {value}>() "
    for name, value in {
        "zero": 0.0,
        "one": 1.0,
        "three": 3.0,
        "six": 6.0,
        "sixth": 0.16666667,
        "slope": 1.7,
        "five": 5.0,
        "minus": -1.0,
    }.items()
)

FUSED = {
    "hard sigmoid times x": (14, "s = HardSigmoid<alpha: float = 0.16666667, beta: float = 0.5>(x) y = Mul(x, s)", "HardSwish"),
    "clip over six times x": (14, "a = Add(x, three) c = Clip(a, zero, six) d = Div(c, six) y = Mul(d, x)", "HardSwish"),
    "x times clip, over six": (14, "a = Add(three, x) c = Clip(a, zero, six) d = Mul(x, c) y = Div(d, six)", "HardSwish"),
    "clip times a sixth": (14, "a = Add(x, three) c = Clip(a, zero, six) y = Mul(c, sixth)", "HardSigmoid"),
    "mish": (18, "s = Softplus(x) t = Tanh(s) y = Mul(x, t)", "Mish"),
    "softplus": (20, "e = Exp(x) a = Add(e, one) y = Log(a)", "Softplus"),
    "relu below six": (20, "r = Relu(x) y = Min(r, six)", "Clip"),
    "a clipped relu": (20, "r = Relu(x) y = Clip(r, minus, six)", "Clip"),
    "max with zero": (20, "y = Max(x, zero)", "Relu"),
}


def text(body: str) -> str:
    return f"g (float[N, 6] z) => (float[N, 6] y) {{ {CONSTANTS} x = Sin(z) {body} }}"


@pytest.mark.parametrize(("opset", "body", "operator"), FUSED.values(), ids=FUSED.keys())
def test_an_activation_becomes_its_operator(opset: int, body: str, operator: str):
    assert simplify(text(body), opset=opset).ops == ["Sin", operator]


@pytest.mark.parametrize(("opset", "body", "operator"), [FUSED["mish"]])
def test_not_before_the_opset_that_has_it(opset: int, body: str, operator: str):
    assert operator not in simplify(text(body), opset=opset - 1).ops


@pytest.mark.parametrize(
    "body",
    [
        "s = HardSigmoid(x) y = Mul(x, s)",
        "s = HardSigmoid<alpha: float = 0.16666667, beta: float = 0.5>(x) y = Mul(z, s)",
        "a = Add(x, three) c = Clip(a, zero, five) d = Div(c, six) y = Mul(d, x)",
        "a = Add(x, one) c = Clip(a, zero, six) d = Div(c, six) y = Mul(d, x)",
        "s = Softplus(z) t = Tanh(s) y = Mul(x, t)",
        "e = Exp(x) a = Add(e, five) y = Log(a)",
        "r = Relu(x) y = Clip(r, five, six)",
        "r = Relu(x) y = Min(r, minus)",
    ],
)
def test_what_is_another_function_stays(body: str):
    assert simplify(text(body)).rules.isdisjoint({"fuse_hardswish", "fuse_spelt_hardswish", "fuse_mish", "fuse_softplus", "fuse_relu_clip"})


def test_an_inner_value_read_elsewhere_survives():
    body = "g (float[N, 6] x) => (float[N, 6] y, float[N, 6] w) { one = Constant<value_float: float = 1.0>() e = Exp(x) a = Add(e, one) y = Log(a) w = Sin(e) }"
    found = simplify(body)
    assert "Softplus" not in found.ops
    assert "%e has 2 readers" in found.misses("fuse_softplus")[0].reason


def test_a_constant_that_raises_the_rank_is_no_number():
    body = "g (float[6] x) => (float[1, 6] y) { zero = Constant<value: tensor = float[1, 1] {0.0}>() y = Max(x, zero) }"
    assert "Max" in simplify(body).ops
