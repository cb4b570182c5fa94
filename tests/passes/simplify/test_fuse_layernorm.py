# ruff: noqa: E501 (a graph reads best with its nodes on one line)
"""Layer normalisation in the spellings of exporters becomes one operator; what is not quite one stays."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.simplify.support import simplified, simplify
from tests.passes.simplify.weights import program

CONSTANTS = """
    axes = Constant<value_ints: ints = [-1]>() eps = Constant<value_float: float = 1e-5>() two = Constant<value_float: float = 2.0>()
    half = Constant<value_float: float = 0.5>() minus = Constant<value_float: float = -0.5>()
"""
CENTRED = "mean = ReduceMean(x, axes) d = Sub(x, mean) "
SPREAD = CENTRED + "sq = Pow(d, two) var = ReduceMean(sq, axes) biased = Add(var, eps) "

FORMS = {
    "a quotient by the root": SPREAD + "std = Sqrt(biased) n = Div(d, std) s = Mul(n, gamma) y = Add(s, beta)",
    "a product with the reciprocal root": SPREAD
    + "std = Sqrt(biased) r = Reciprocal(std) n = Mul(r, d) s = Mul(gamma, n) y = Add(beta, s)",
    "one over the root": SPREAD
    + "one = Constant<value_float: float = 1.0>() std = Sqrt(biased) r = Div(one, std) n = Mul(d, r) s = Mul(n, gamma) y = Add(s, beta)",
    "a power of one half": SPREAD + "std = Pow(biased, half) n = Div(d, std) s = Mul(n, gamma) y = Add(s, beta)",
    "a power of minus one half": SPREAD + "r = Pow(biased, minus) n = Mul(d, r) s = Mul(n, gamma) y = Add(s, beta)",
    "a product with itself": CENTRED
    + "sq = Mul(d, d) var = ReduceMean(sq, axes) biased = Add(eps, var) std = Sqrt(biased) n = Div(d, std) s = Mul(n, gamma) y = Add(s, beta)",
    "TensorFlow's": SPREAD
    + "std = Sqrt(biased) r = Reciprocal(std) a = Mul(r, gamma) p = Mul(x, a) m = Mul(mean, a) rest = Sub(beta, m) y = Add(p, rest)",
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
def test_every_spelling_becomes_one_operator(body: str):
    found = simplified(program(f"g (float[N, S, 8] x) => (float[N, S, 8] y) {{ {CONSTANTS} {body} }}", {"gamma": (8,), "beta": (8,)}))
    assert found.ops == ["LayerNormalization"]
    node = found.after.graph[0]
    assert [value.name for value in node.inputs if value is not None] == ["x", "gamma", "beta"]
    assert node.attributes["epsilon"].as_float() == pytest.approx(1e-5)


@pytest.mark.parametrize("ending", ["y = Mul(n, gamma)", "y = Relu(n)"])
def test_bias_and_scale_may_be_missing(ending: str):
    text = f"g (float[N, S, 8] x) => (float[N, S, 8] y) {{ {CONSTANTS} {SPREAD} std = Sqrt(biased) n = Div(d, std) {ending} }}"
    found = simplified(program(text, {"gamma": (8,)} if "gamma" in ending else {}))
    assert found.ops[0] == "LayerNormalization"
    assert "Sqrt" not in found.ops


def test_the_last_two_axes_are_normalised_together():
    text = f"""g (float[N, 4, 6] x) => (float[N, 4, 6] y) {{ {CONSTANTS} both = Constant<value_ints: ints = [2, 1]>()
        mean = ReduceMean(x, both) d = Sub(x, mean) sq = Mul(d, d) var = ReduceMean(sq, both) biased = Add(var, eps)
        std = Sqrt(biased) n = Div(d, std) s = Mul(n, gamma) y = Add(s, beta) }}"""
    found = simplified(program(text, {"gamma": (4, 6), "beta": (4, 6)}))
    assert found.ops == ["LayerNormalization"]
    assert found.after.graph[0].attributes["axis"].as_int() == -2


def test_another_axis_is_a_miss():
    body = FORMS["a quotient by the root"].replace("axes)", "first)")
    text = f"g (float[N, 8, S] x) => (float[N, 8, S] y) {{ {CONSTANTS} first = Constant<value_ints: ints = [1]>() {body} }}"
    found = simplified(program(text, {"gamma": (8, 1), "beta": (8, 1)}))
    assert "LayerNormalization" not in found.ops
    assert "not over the last ones" in found.misses("fuse_layernorm")[0].reason


def test_a_scale_that_broadcasts_the_result_up_stays_outside():
    text = f"g (float[N, 1, 8] x) => (float[N, 4, 8] y) {{ {CONSTANTS} {SPREAD} std = Sqrt(biased) n = Div(d, std) y = Mul(n, gamma) }}"
    assert simplified(program(text, {"gamma": (4, 8)})).ops == ["LayerNormalization", "Mul"]


def test_an_inner_value_read_elsewhere_is_a_miss_and_survives():
    text = f"g (float[N, S, 8] x) => (float[N, S, 8] y, float[N, S, 1] out) {{ {CONSTANTS} {SPREAD} std = Sqrt(biased) n = Div(d, std) y = Mul(n, gamma) out = Exp(var) }}"
    found = simplified(program(text, {"gamma": (8,)}))
    assert "LayerNormalization" not in found.ops
    assert "%var has 2 readers" in found.misses("fuse_layernorm")[0].reason


def test_a_wider_type_in_between_is_the_operators_own():
    text = f"""g (float16[N, S, 8] h) => (float16[N, S, 8] y) {{ {CONSTANTS} x = Cast<to: int = 1>(h) {SPREAD} std = Sqrt(biased)
        n = Div(d, std) c = Cast<to: int = 10>(n) s = Mul(c, gamma) y = Add(s, beta) }}"""
    found = simplified(program(text, {"gamma": (8,), "beta": (8,)}, dtype="float16"))
    assert found.ops == ["LayerNormalization"]
    assert found.after.graph[0].attributes["stash_type"].as_int() == 1


def test_double_precision_is_kept():
    body = FORMS["a quotient by the root"].replace("eps", "tiny").replace("two", "second")
    text = f"""g (double[N, S, 8] x) => (double[N, S, 8] y) {{ axes = Constant<value_ints: ints = [-1]>()
        tiny = Constant<value: tensor = double {{1e-5}}>() second = Constant<value: tensor = double {{2.0}}>()
        one = Constant<value: tensor = double[8] {{1, 2, 3, 4, 5, 6, 7, 8}}>() {body.replace("gamma", "one").replace("beta", "one")} }}"""
    found = simplify(text)
    assert found.ops == ["LayerNormalization"]
    assert found.after.graph[0].attributes["stash_type"].as_int() == 11


def test_an_older_opset_keeps_the_spelling():
    body = (
        FORMS["a quotient by the root"]
        .replace("ReduceMean(x, axes)", "ReduceMean<axes: ints = [-1]>(x)")
        .replace("ReduceMean(sq, axes)", "ReduceMean<axes: ints = [-1]>(sq)")
    )
    text = f"g (float[N, S, 8] x) => (float[N, S, 8] y) {{ {CONSTANTS} {body} }}"
    assert "LayerNormalization" not in simplified(program(text, {"gamma": (8,), "beta": (8,)}, opset=16)).ops
    assert simplified(program(text, {"gamma": (8,), "beta": (8,)}, opset=17)).ops == ["LayerNormalization"]


def test_a_trainable_program_is_given_no_scale_of_ones():
    text = f"g (float[N, S, 8] x) => (float[N, S, 8] y) {{ {CONSTANTS} {SPREAD} std = Sqrt(biased) y = Div(d, std) }}"
    found = simplified(program(text, properties=frozenset({"Trainable"})))
    assert "Trainable" in found.misses("fuse_layernorm")[0].reason
    scaled = text.replace("y = Div(d, std)", "n = Div(d, std) y = Mul(n, gamma)")
    assert simplified(program(scaled, {"gamma": (8,)}, properties=frozenset({"Trainable"}))).ops == ["LayerNormalization"]


def test_a_mean_of_something_else_is_no_normalisation():
    text = f"g (float[N, S, 8] x, float[N, S, 8] z) => (float[N, S, 8] y) {{ {CONSTANTS} {SPREAD.replace('ReduceMean(x', 'ReduceMean(z')} std = Sqrt(biased) y = Div(d, std) }}"
    assert "LayerNormalization" not in simplified(program(text)).ops


def test_a_later_scale_of_a_fused_norm_goes_into_it():
    weights = {"gamma": (8,), "beta": (8,), "more": np.full(8, 3.0, np.float32)}
    text = "g (float[N, S, 8] x) => (float[N, S, 8] y) { n = LayerNormalization(x, gamma, beta) s = Mul(n, more) y = Add(s, beta) }"
    assert simplified(program(text, weights)).ops == ["LayerNormalization"]
