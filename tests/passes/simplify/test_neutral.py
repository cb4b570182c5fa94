"""Neutral elements go where neither type nor shape depends on them."""

from __future__ import annotations

import pytest

from tests.passes.simplify.support import simplify

FLOATS = ["Add(r, zero)", "Add(zero, r)", "Sub(r, zero)", "Mul(r, one)", "Mul(one, r)", "Div(r, one)", "Pow(r, one)"]


@pytest.mark.parametrize("expression", FLOATS)
def test_neutral_numbers_go(expression: str):
    found = simplify(
        f"g (float[N, 3] x) => (float[N, 3] y) <float zero = {{0}}, float one = {{1}}> {{ r = Abs(x) t = {expression} y = Exp(t) }}"
    )
    assert found.ops == ["Abs", "Exp"]


@pytest.mark.parametrize("expression", ["Sub(zero, r)", "Div(one, r)", "Pow(one, r)", "Mul(r, zero)", "Add(r, tall)"])
def test_what_only_looks_neutral_stays(expression: str):
    found = simplify(
        f"""g (float[N, 3] x) => (float[a, b] y) <float zero = {{0}}, float one = {{1}}, float[2,1,1] tall = {{0, 0}}>
    {{ r = Cosh(x) t = {expression} y = Exp(t) }}""".replace(
            "float[a, b] y", "float[a, b, c] y" if "tall" in expression else "float[a, b] y"
        )
    )
    assert len(found.ops) == 3


def test_a_vector_of_zeros_goes_when_the_other_side_has_the_full_shape():
    assert simplify("g (float[N, 3] x) => (float[N, 3] y) <float[3] z = {0, 0, 0}> { r = Abs(x) t = Add(z, r) y = Exp(t) }").ops == [
        "Abs",
        "Exp",
    ]


def test_a_vector_that_enlarges_stays():
    found = simplify("g (float[N, 1] x) => (float[N, 3] y) <float[3] z = {0, 0, 0}> { r = Abs(x) t = Add(z, r) y = Exp(t) }")
    assert "Add" in found.ops


def test_a_zero_that_is_expanded_at_run_time_is_still_zero():
    found = simplify(
        "g (float[N, 3] x) => (float[N, 3] y) <float z = {0}> { r = Abs(x) s = Shape(x) e = Expand(z, s) t = Add(r, e) y = Exp(t) }"
    )
    assert found.ops == ["Abs", "Exp"]


def test_zeros_made_by_constant_of_shape_are_zero():
    found = simplify("g (float[N, 3] x) => (float[N, 3] y) { s = Shape(x) z = ConstantOfShape(s) r = Abs(x) t = Add(r, z) y = Exp(t) }")
    assert found.ops == ["Abs", "Exp"]


@pytest.mark.parametrize(
    ("expression", "left"), [("And(a, yes)", ["Not"]), ("Or(no, a)", ["Not"]), ("Xor(a, no)", ["Not"]), ("And(a, a)", ["Not"])]
)
def test_neutral_truths_go(expression: str, left: list[str]):
    found = simplify(f"g (bool[N] x) => (bool[N] y) <bool yes = {{1}}, bool no = {{0}}> {{ a = Not(x) t = {expression} y = Identity(t) }}")
    assert found.ops == left


def test_a_comparison_that_is_always_true_is_neutral():
    text = """g (bool[N] x) => (bool[N] y) <int64 zero = {0}, int64 one = {1}>
    { s = Shape(x) n = Squeeze(s) r = Range(zero, n, one) t = GreaterOrEqual(r, zero) a = Not(x) y = And(a, t) }"""
    assert simplify(text).ops == ["Not"]


def test_a_comparison_that_may_be_false_stays():
    text = """g (bool[N] x) => (bool[N] y) <int64 zero = {0}, int64 one = {1}>
    { s = Shape(x) n = Squeeze(s) r = Range(zero, n, one) t = GreaterOrEqual(r, one) a = Not(x) y = And(a, t) }"""
    assert "GreaterOrEqual" in simplify(text).ops


@pytest.mark.parametrize(("condition", "left"), [("yes", ["Abs", "Exp"]), ("no", ["Neg", "Exp"])])
def test_a_known_choice_is_made(condition: str, left: list[str]):
    text = f"""g (float[N] x) => (float[N] y) <bool yes = {{1}}, bool no = {{0}}> {{ a = Abs(x) b = Neg(x)
    t = Where({condition}, a, b) y = Exp(t) }}"""
    assert simplify(text).ops == left


def test_a_negated_condition_swaps_the_alternatives():
    found = simplify("g (bool[N] c, float[N] x) => (float[N] y) <float z = {0}> { n = Not(c) y = Where(n, x, z) }")
    assert found.ops == ["Where"]


def test_the_sum_of_an_input_and_zero_stays_where_it_is_an_output():
    found = simplify("g (float[N] x) => (float[N] y) <float z = {0}> { y = Add(x, z) }")
    assert found.ops == ["Add"]
    assert "graph output" in found.misses("drop_neutral")[0].reason


def test_max_of_a_value_with_itself_goes():
    assert simplify("g (float[N] x) => (float[N] y) { a = Abs(x) m = Max(a, a) y = Exp(m) }").ops == ["Abs", "Exp"]
