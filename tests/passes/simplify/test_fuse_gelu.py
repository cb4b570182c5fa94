# ruff: noqa: E501 (a graph reads best with its nodes on one line)
"""GELU in any order of factors becomes Gelu from opset 20 on; what only looks like it stays."""

from __future__ import annotations

import pytest

from tests.passes.simplify.support import simplify

CONSTANTS = "".join(
    f"{name} = Constant<value_float: float = {value}>() "
    for name, value in {
        "half": 0.5, "one": 1.0, "two": 2.0, "three": 3.0, "root": 1.4142135, "inverse": 0.70710677, "cubic": 0.044715, "slope": 0.7978845, "off": 0.6,
    }.items()
)  # fmt: skip
ERF = {
    "half at the end": "a = Div(x, root) e = Erf(a) s = Add(e, one) p = Mul(x, s) y = Mul(p, half)",
    "half at the start": "h = Mul(x, half) a = Div(x, root) e = Erf(a) s = Add(e, one) y = Mul(h, s)",
    "half in the middle": "a = Mul(x, inverse) e = Erf(a) s = Add(one, e) p = Mul(half, s) y = Mul(p, x)",
    "a quotient by two": "h = Div(x, two) a = Mul(x, inverse) e = Erf(a) s = Add(one, e) y = Mul(s, h)",
    "a quotient at the end": "a = Div(x, root) e = Erf(a) s = Add(e, one) p = Mul(x, s) y = Div(p, two)",
}
TANH = {
    "torch's": "h = Mul(x, half) c = Pow(x, three) k = Mul(c, cubic) i = Add(x, k) a = Mul(i, slope) t = Tanh(a) s = Add(t, one) y = Mul(h, s)",
    "products": "q = Mul(x, x) c = Mul(q, x) k = Mul(cubic, c) i = Add(k, x) a = Mul(slope, i) t = Tanh(a) s = Add(one, t) p = Mul(x, s) y = Mul(p, half)",
    "factored": "q = Mul(x, x) k = Mul(q, cubic) i = Add(k, one) j = Mul(i, x) a = Mul(j, slope) t = Tanh(a) s = Add(t, one) p = Mul(s, half) y = Mul(x, p)",
}


def text(body: str) -> str:
    return f"g (float[N, 6] z) => (float[N, 6] y) {{ {CONSTANTS} x = Relu(z) {body} }}"


@pytest.mark.parametrize("body", ERF.values(), ids=ERF.keys())
def test_the_error_function_form_becomes_gelu(body: str):
    found = simplify(text(body))
    assert found.ops == ["Relu", "Gelu"]
    assert found.after.graph[1].attributes["approximate"].as_string() == "none"


@pytest.mark.parametrize("body", TANH.values(), ids=TANH.keys())
def test_the_tanh_form_becomes_gelu(body: str):
    found = simplify(text(body))
    assert found.ops == ["Relu", "Gelu"]
    assert found.after.graph[1].attributes["approximate"].as_string() == "tanh"


@pytest.mark.parametrize("body", [ERF["half at the end"], TANH["torch's"]])
def test_an_older_opset_keeps_the_spelling(body: str):
    assert "Gelu" not in simplify(text(body), opset=19).ops


@pytest.mark.parametrize(
    "body",
    [
        ERF["half at the end"].replace("half", "off"),
        ERF["half at the end"].replace("x, root", "x, two"),
        ERF["half at the end"].replace("Add(e, one)", "Add(e, two)"),
        ERF["half at the end"].replace("Mul(x, s)", "Mul(z, s)"),
        TANH["torch's"].replace("c, cubic", "c, off"),
        TANH["torch's"].replace("x, three", "x, two"),
        "t = Tanh(x) s = Add(t, one) h = Mul(s, half) y = Mul(x, h)",
    ],
)
def test_other_numbers_are_no_gelu(body: str):
    assert "Gelu" not in simplify(text(body)).ops


def test_an_inner_value_read_elsewhere_is_a_miss_and_survives():
    body = f"g (float[N, 6] z) => (float[N, 6] y, float[N, 6] w) {{ {CONSTANTS} x = Relu(z) {ERF['half at the end']} w = Exp(e) }}"
    for value in ("e", "s", "p"):
        assert "Gelu" not in simplify(body.replace("Exp(e)", f"Exp({value})")).ops
    found = simplify(body.replace("Exp(e)", "Exp(a)"))
    assert "%a has 2 readers" in found.misses("fuse_gelu")[0].reason


def test_half_precision_constants_are_recognised():
    casts = "".join(f"{name}h = Cast<to: int = 10>({name}) " for name in ("half", "one", "root"))
    body = "h = Mul(x, halfh) a = Div(x, rooth) e = Erf(a) s = Add(e, oneh) y = Mul(h, s)"
    found = simplify(f"g (float16[N, 6] z) => (float16[N, 6] y) {{ {CONSTANTS} {casts} x = Relu(z) {body} }}", values=False)
    assert found.ops == ["Relu", "Gelu"]
