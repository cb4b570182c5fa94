"""Root-mean-square normalisation becomes one operator from opset 23 on."""

from __future__ import annotations

import pytest

from tests.passes.simplify.support import simplified
from tests.passes.simplify.weights import program

CONSTANTS = """axes = Constant<value_ints: ints = [-1]>() eps = Constant<value_float: float = 1e-6>()
    two = Constant<value_float: float = 2.0>() minus = Constant<value_float: float = -0.5>() """
MEAN = "sq = Pow(x, two) mean = ReduceMean(sq, axes) biased = Add(mean, eps) "
FORMS = {
    "Llama's": MEAN + "root = Sqrt(biased) r = Reciprocal(root) n = Mul(x, r) y = Mul(gamma, n)",
    "a quotient": MEAN + "root = Sqrt(biased) n = Div(x, root) y = Mul(n, gamma)",
    "a power": MEAN + "r = Pow(biased, minus) n = Mul(r, x) y = Mul(n, gamma)",
    "a product with itself": MEAN.replace("Pow(x, two)", "Mul(x, x)") + "root = Sqrt(biased) n = Div(x, root) y = Mul(n, gamma)",
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
def test_every_spelling_becomes_one_operator(body: str):
    text = f"g (float[N, S, 8] x) => (float[N, S, 8] y) {{ {CONSTANTS} {body} }}"
    assert simplified(program(text, {"gamma": (8,)}, opset=23)).ops == ["RMSNormalization"]
    assert "RMSNormalization" not in simplified(program(text, {"gamma": (8,)}, opset=22)).ops


def test_half_precision_around_the_statistics_is_the_operators_own():
    text = f"""g (float16[N, S, 8] h) => (float16[N, S, 8] y) {{ {CONSTANTS} x = Cast<to: int = 1>(h) {MEAN} root = Sqrt(biased)
        r = Reciprocal(root) n = Mul(x, r) c = Cast<to: int = 10>(n) y = Mul(gamma, c) }}"""
    assert simplified(program(text, {"gamma": (8,)}, opset=23, dtype="float16")).ops == ["RMSNormalization"]


def test_a_layer_normalisation_is_not_taken_for_one():
    text = f"""g (float[N, S, 8] z) => (float[N, S, 8] y) {{ {CONSTANTS} m = ReduceMean(z, axes) x = Sub(z, m) {MEAN}
        root = Sqrt(biased) n = Div(x, root) y = Mul(n, gamma) }}"""
    assert simplified(program(text, {"gamma": (8,)}, opset=23)).ops == ["LayerNormalization"]


def test_another_axis_and_an_unknown_size_are_misses():
    body = FORMS["a quotient"].replace("axes", "first")
    text = f"g (float[N, 8, S] x) => (float[N, 8, S] y) {{ {CONSTANTS} first = Constant<value_ints: ints = [1]>() {body} }}"
    found = simplified(program(text, {"gamma": (8, 1)}, opset=23))
    assert "not over the last ones" in found.misses("fuse_rms")[0].reason
    text = f"g (float[N, S] x) => (float[N, S] y) {{ {CONSTANTS} {MEAN} root = Sqrt(biased) y = Div(x, root) }}"
    assert "not known" in simplified(program(text, opset=23)).misses("fuse_rms")[0].reason


def test_an_inner_value_read_elsewhere_survives():
    text = f"g (float[N, S, 8] x) => (float[N, S, 8] y, float[N, S, 1] z) {{ {CONSTANTS} {FORMS['a quotient']} z = Exp(mean) }}"
    found = simplified(program(text, {"gamma": (8,)}, opset=23))
    assert "%mean has 2 readers" in found.misses("fuse_rms")[0].reason
