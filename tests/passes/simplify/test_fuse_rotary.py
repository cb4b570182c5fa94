# ruff: noqa: E501 (a graph reads best with its nodes on one line)
"""Rotary position embedding becomes one operator from opset 23 on."""

from __future__ import annotations

import pytest

from tests.passes.simplify.support import simplify

NUMBERS = "".join(
    f"{name} = Constant<value_ints: ints = [{value}]>() "
    for name, value in {"zero": 0, "four": 4, "one": 1, "last": -1, "far": 9223372036854775807, "three": 3}.items()
)
TABLES = "both = Concat<axis: int = -1>(angles, angles) c = Cos(both) s = Sin(both) cos = Unsqueeze(c, one) sin = Unsqueeze(s, one) "
HALVES = {
    "Slice": "low = Slice(x, zero, four, last, one) high = Slice(x, four, far, three, one) ",
    "Split": "low, high = Split<axis: int = -1, num_outputs: int = 2>(x) ",
}
REST = "minus = Neg(high) turned = Concat<axis: int = 3>(minus, low) a = Mul(x, cos) b = Mul(turned, sin) y = Add(a, b)"


def text(body: str, angles: str = "float[N, S, 4] angles") -> str:
    return f"g (float[N, 2, S, 8] x, {angles}) => (float[N, 2, S, 8] y) {{ {NUMBERS} {body} }}"


@pytest.mark.parametrize("halves", HALVES.values(), ids=HALVES.keys())
@pytest.mark.parametrize("rest", [REST, REST.replace("Add(a, b)", "Add(b, a)").replace("Mul(x, cos)", "Mul(cos, x)")])
def test_it_becomes_one_operator(halves: str, rest: str):
    found = simplify(text(TABLES + halves + rest), opset=23)
    assert sorted(found.ops) == ["Cos", "RotaryEmbedding", "Sin"]
    assert "RotaryEmbedding" not in simplify(text(TABLES + halves + rest), opset=22).ops


def test_angles_for_a_batch_of_one_are_expanded():
    found = simplify(text(TABLES + HALVES["Slice"] + REST, "float[1, S, 4] angles"), opset=23)
    assert "RotaryEmbedding" in found.ops
    assert "Expand" in found.ops


@pytest.mark.parametrize(
    "body",
    [
        TABLES + HALVES["Slice"].replace("x, zero, four", "x, four, far").replace("x, four, far, three", "x, zero, four, last") + REST,
        TABLES + HALVES["Slice"] + REST.replace("Neg(high)", "Relu(high)"),
        TABLES + HALVES["Slice"] + REST.replace("(turned, sin)", "(turned, cos)"),
    ],
)
def test_another_rotation_stays(body: str):
    assert "RotaryEmbedding" not in simplify(text(body), opset=23).ops


def test_different_angles_are_a_miss():
    tables = "both = Concat<axis: int = -1>(angles, angles) other = Concat<axis: int = -1>(others, others) c = Cos(both) s = Sin(other) cos = Unsqueeze(c, one) sin = Unsqueeze(s, one) "
    found = simplify(text(tables + HALVES["Slice"] + REST, "float[N, S, 4] angles, float[N, S, 4] others"), opset=23)
    assert "cosine of %angles, but sine of %others" in found.misses("fuse_rotary")[0].reason


def test_an_inner_value_read_elsewhere_survives():
    body = text(TABLES + HALVES["Slice"] + REST + " w = Relu(turned)").replace("y) {", "y, float[N, 2, S, 8] w) {")
    found = simplify(body, opset=23)
    assert "RotaryEmbedding" not in found.ops
    assert "%turned has 2 readers" in found.misses("fuse_rotary")[0].reason
