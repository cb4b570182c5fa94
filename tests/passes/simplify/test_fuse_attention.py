# ruff: noqa: E501 (a graph reads best with its nodes on one line)
"""Attention spelt out becomes one operator from opset 23 on, and takes splitting, joining and repeating heads into itself."""

from __future__ import annotations

import pytest

from netwright.ir import Program
from tests.passes.simplify.support import simplified, simplify
from tests.passes.simplify.weights import program

INPUTS = "float[N, H, S, 8] q, float[N, H, T, 8] k, float[N, H, T, 8] v"
NUMBERS = "".join(
    f"{name} = Constant<value_float: float = {value}>() "
    for name, value in {"eighth": 0.125, "root": 0.35355338, "eight": 8.0, "minus": -1.0}.items()
)
TURNED = "kt = Transpose<perm: ints = [0, 1, 3, 2]>(k) "
FORMS = {
    "plain": TURNED + "s = MatMul(q, kt) p = Softmax(s) y = MatMul(p, v)",
    "a factor": TURNED + "s = MatMul(q, kt) t = Mul(s, eighth) p = Softmax(t) y = MatMul(p, v)",
    "a quotient": TURNED + "s = MatMul(q, kt) t = Div(s, eight) p = Softmax<axis: int = 3>(t) y = MatMul(p, v)",
    "factors on both sides": TURNED + "l = Mul(q, root) r = Mul(kt, root) s = MatMul(l, r) p = Softmax(s) y = MatMul(p, v)",
    "a scaled query": TURNED + "l = Mul(eighth, q) s = MatMul(l, kt) p = Softmax(s) y = MatMul(p, v)",
    "a mask": TURNED + "s = MatMul(q, kt) t = Mul(s, eighth) u = Add(t, m) p = Softmax(u) y = MatMul(p, v)",
    "a mask on the left": TURNED + "s = MatMul(q, kt) u = Add(m, s) p = Softmax(u) y = MatMul(p, v)",
}


def text(body: str, mask: str = "float[N, 1, S, T] m") -> str:
    return f"g ({INPUTS}, {mask}) => (float[N, H, S, 8] y) {{ {NUMBERS} {body} }}"


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
def test_every_spelling_becomes_one_operator(body: str):
    found = simplify(text(body), opset=23)
    assert found.ops == ["Attention"]
    scale = found.after.graph[0].attributes["scale"].as_float()
    assert scale == pytest.approx(1.0 if "root" not in body and "eight" not in body else 0.125)
    assert "Attention" not in simplify(text(body), opset=22).ops


def test_a_key_transposed_out_of_its_heads_keeps_one_transpose():
    body = "kt = Transpose<perm: ints = [0, 2, 3, 1]>(k) s = MatMul(q, kt) p = Softmax(s) y = MatMul(p, v)"
    found = simplify(text(body).replace("float[N, H, T, 8] k", "float[N, T, H, 8] k"), opset=23)
    assert found.ops == ["Transpose", "Attention"]


@pytest.mark.parametrize("mask", ["float[N, 1, 1, T] m", "float[T] m", "float[N, 1, S, 1] m"])
def test_a_mask_that_onnx_runtime_would_not_broadcast_is_a_miss(mask: str):
    found = simplify(text(FORMS["a mask"], mask), opset=23)
    assert "Attention" not in found.ops
    assert "mask %m" in found.misses("fuse_attention")[0].reason


def test_broadcast_heads_are_a_miss():
    found = simplify(text(FORMS["plain"]).replace("float[N, H, T, 8] k", "float[1, H, T, 8] k"), opset=23)
    assert "Attention" not in found.ops
    assert "the batch of query" in found.misses("fuse_attention")[0].reason


def test_probabilities_read_elsewhere_survive():
    found = simplify(text(FORMS["a factor"] + " w = Relu(p)").replace("y) {", "y, float[N, H, S, T] w) {"), opset=23)
    assert "Attention" not in found.ops
    found = simplify(text(FORMS["a factor"] + " w = Relu(s)").replace("y) {", "y, float[N, H, S, T] w) {"), opset=23)
    assert "%s has 2 readers" in found.misses("fuse_attention")[0].reason


@pytest.mark.parametrize(
    "body",
    [
        FORMS["a factor"].replace("eighth", "minus"),
        FORMS["plain"].replace("Softmax(s)", "Softmax<axis: int = 2>(s)"),
        "kt = Reshape(k, shape) s = MatMul(q, kt) p = Softmax(s) y = MatMul(p, v)".replace("kt = Reshape(k, shape)", "kt = Relu(k)"),
    ],
)
def test_what_is_no_attention_stays(body: str):
    given = text(body).replace("float[N, H, T, 8] k", "float[N, H, 8, T] k") if "Relu" in body else text(body)
    assert "Attention" not in simplify(given, opset=23).ops


SPLIT = """shape = Constant<value_ints: ints = [0, 0, 4, 8]>() flat = Constant<value_ints: ints = [0, 0, 32]>()
    a = Reshape(q, shape) qh = Transpose<perm: ints = [0, 2, 1, 3]>(a) b = Reshape(k, {kv}) kh = Transpose<perm: ints = [0, 2, 1, 3]>(b)
    c = Reshape(v, {kv}) vh = Transpose<perm: ints = [0, 2, 1, 3]>(c) """
JOIN = "t = Transpose<perm: ints = [0, 2, 1, 3]>(o) y = Reshape(t, flat)"


def split(body: str, kv: str = "shape", size: int = 32) -> str:
    return (
        f"g (float[N, S, 32] q, float[N, T, {size}] k, float[N, T, {size}] v) => (float[N, S, 32] y) {{"
        f" few = Constant<value_ints: ints = [0, 0, 2, 8]>() {SPLIT.replace('{kv}', kv)} {body} {JOIN} }}"
    )


def test_heads_are_split_and_joined_inside():
    found = simplify(split("o = Attention(qh, kh, vh)"), opset=23)
    assert found.ops == ["Attention"]
    attributes = found.after.graph[0].attributes
    assert (attributes["q_num_heads"].as_int(), attributes["kv_num_heads"].as_int()) == (4, 4)
    assert attributes["scale"].as_float() == pytest.approx(8**-0.5)


def test_attention_spelt_out_between_heads_becomes_one_operator():
    body = "kt = Transpose<perm: ints = [0, 1, 3, 2]>(kh) s = MatMul(qh, kt) p = Softmax(s) o = MatMul(p, vh)"
    assert simplify(split(body), opset=23).ops == ["Attention"]


def test_a_causal_attention_stays_causal():
    found = simplify(split("o = Attention<is_causal: int = 1, scale: float = 0.5>(qh, kh, vh)"), opset=23)
    assert found.ops == ["Attention"]
    assert found.after.graph[0].attributes["is_causal"].as_int() == 1


def test_grouped_heads_are_not_repeated():
    repeat = """two = Constant<value_ints: ints = [2]>() five = Constant<value_ints: ints = [1, 1, 2, 1, 1]>() wide = Constant<value_ints: ints = [0, 4, -1, 8]>()
        k5 = Unsqueeze(kh, two) ke = Expand(k5, five) kr = Reshape(ke, wide) v5 = Unsqueeze(vh, two) ve = Expand(v5, five) vr = Reshape(ve, wide)
        o = Attention(qh, kr, vr) """
    found = simplify(split(repeat, kv="few", size=16), opset=23)
    assert found.ops == ["Attention"]
    attributes = found.after.graph[0].attributes
    assert (attributes["q_num_heads"].as_int(), attributes["kv_num_heads"].as_int()) == (4, 2)


def test_rotary_embeddings_go_inside_with_the_heads():
    body = "qr = RotaryEmbedding(qh, cos, sin) kr = RotaryEmbedding(kh, cos, sin) o = Attention(qr, kr, vh)"
    given = split(body).replace("float[N, T, 32] v)", "float[N, T, 32] v, float[N, S, 4] cos, float[N, S, 4] sin)").replace("T,", "S,")
    found = simplify(given, opset=23)
    assert found.ops == ["RotaryEmbedding", "RotaryEmbedding", "Attention"]


def test_heads_that_are_not_joined_stay_outside():
    given = split("o = Attention(qh, kh, vh)").replace(JOIN, "y = Relu(o)").replace("float[N, S, 32] y)", "float[N, 4, S, 8] y)")
    found = simplify(given, opset=23)
    assert "Transpose" in found.ops
    assert "the result not joined" in found.misses("absorb_heads")[0].reason


def test_a_result_read_twice_stays_split():
    given = split("o = Attention(qh, kh, vh) w = Relu(o)").replace("y) {", "y, float[N, 4, S, 8] w) {")
    assert "Transpose" in simplify(given, opset=23).ops


def test_one_head_needs_no_transpose():
    given: Program = program(
        """g (float[N, S, 8] q, float[N, T, 8] k) => (float[N, S, 8] y) { one = Constant<value_ints: ints = [1]>()
        qh = Unsqueeze(q, one) kh = Unsqueeze(k, one) o = Attention(qh, kh, kh) y = Squeeze(o, one) }""",
        opset=23,
    )
    assert simplified(given).ops == ["Attention"]
