"""Batch normalisation goes into its neighbours, exactly where that changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.ir import Program
from netwright.ir.program import array
from tests.passes.simplify.support import Simplified, simplified
from tests.passes.simplify.weights import Weights, program

NORM: Weights = {"gamma": (8,), "beta": (8,), "mean": (8,), "var": np.linspace(0.5, 2, 8, dtype=np.float32)}
BEFORE: dict[str, tuple[str, str, str, Weights]] = {
    "Conv": ("float[N, 3, 9, 9] x", "float[N, 8, 9, 9] y", "c = Conv<pads: ints = [1, 1, 1, 1]>(x, w)", {"w": (8, 3, 3, 3)}),
    "Conv with a bias": ("float[N, 3, 9, 9] x", "float[N, 8, 7, 7] y", "c = Conv(x, w, b)", {"w": (8, 3, 3, 3), "b": (8,)}),
    "grouped Conv": ("float[N, 4, 9] x", "float[N, 8, 7] y", "c = Conv<group: int = 4>(x, w)", {"w": (8, 1, 3)}),
    "ConvTranspose": ("float[N, 3, 5, 5] x", "float[N, 8, 7, 7] y", "c = ConvTranspose(x, w, b)", {"w": (3, 8, 3, 3), "b": (8,)}),
    "grouped ConvTranspose": ("float[N, 6, 5, 5] x", "float[N, 8, 7, 7] y", "c = ConvTranspose<group: int = 2>(x, w)", {"w": (6, 4, 3, 3)}),
    "Gemm": ("float[N, 5] x", "float[N, 8] y", "c = Gemm<alpha: float = 0.5, beta: float = 2.0>(x, w, b)", {"w": (5, 8), "b": (8,)}),
    "Gemm with one bias": ("float[N, 5] x", "float[N, 8] y", "c = Gemm<transB: int = 1>(x, w, b)", {"w": (8, 5), "b": (1,)}),
    "Gemm without a bias": ("float[N, 5] x", "float[N, 8] y", "c = Gemm<transB: int = 1, beta: float = 0.5>(x, w)", {"w": (8, 5)}),
    "MatMul": ("float[N, 5] x", "float[N, 8] y", "c = MatMul(x, w)", {"w": (5, 8)}),
    "MatMul and Add": ("float[N, 5] x", "float[N, 8] y", "m = MatMul(x, w) c = Add(m, b)", {"w": (5, 8), "b": (8,)}),
}


def build(inputs: str, outputs: str, body: str, weights: Weights, properties: frozenset[str] = frozenset()) -> Program:
    return program(f"g ({inputs}) => ({outputs}) {{ {body} }}", {**weights, **NORM}, properties=properties)


def normalised(body: str) -> str:
    return body + " y = BatchNormalization<epsilon: float = 0.001>(c, gamma, beta, mean, var)"


@pytest.mark.parametrize(("inputs", "outputs", "body", "weights"), BEFORE.values(), ids=BEFORE.keys())
def test_the_norm_goes_into_the_linear_operator_before_it(inputs: str, outputs: str, body: str, weights: Weights):
    found = simplified(build(inputs, outputs, normalised(body), weights))
    assert len(found.ops) == 1
    assert "BatchNormalization" not in found.ops


def test_weights_keep_their_names_and_say_where_they_come_from():
    found = simplified(build(*BEFORE["Conv with a bias"][:2], normalised(BEFORE["Conv with a bias"][2]), BEFORE["Conv with a bias"][3]))
    assert set(found.after.graph.initializers) == {"w", "b"}
    action = next(action for action in found.after.ledger.actions if action.rule == "fold_batch_norm")
    mapped = action.maps["w"]
    assert mapped.sources == ("w",)
    old, new = array(found.before.value("w")), array(found.after.value("w"))
    assert old is not None
    assert new is not None
    np.testing.assert_allclose(mapped.map.apply(old), new, rtol=1e-6)
    back = mapped.map.invert(new)
    assert isinstance(back, np.ndarray)
    np.testing.assert_allclose(back, old, rtol=1e-5)


def test_a_large_weight_is_computed_when_it_is_read():
    weights = {"w": (8, 1024, 3, 3)}
    found = simplified(build("float[N, 1024, 5, 5] x", "float[N, 8, 3, 3] y", normalised("c = Conv(x, w)"), weights))
    assert found.ops == ["Conv"]
    assert type(found.after.graph.initializers["w"].const_value).__name__ == "LazyTensor"


AFTER: dict[str, tuple[str, str, str, Weights]] = {
    "Conv": ("float[N, 8, 9, 9] x", "float[N, 4, 7, 7] y", "y = Conv(n, w, b)", {"w": (4, 8, 3, 3), "b": (4,)}),
    "Conv without a bias": ("float[N, 8, 9, 9] x", "float[N, 4, 7, 7] y", "y = Conv(n, w)", {"w": (4, 8, 3, 3)}),
    "grouped Conv": ("float[N, 8, 9] x", "float[N, 4, 7] y", "y = Conv<group: int = 2>(n, w)", {"w": (4, 4, 3)}),
    "Gemm": ("float[N, 8] x", "float[N, 5] y", "y = Gemm<transB: int = 1>(n, w, b)", {"w": (5, 8), "b": (5,)}),
}


@pytest.mark.parametrize(("inputs", "outputs", "body", "weights"), AFTER.values(), ids=AFTER.keys())
def test_after_an_activation_the_norm_goes_into_the_linear_operator_that_follows(inputs: str, outputs: str, body: str, weights: Weights):
    found = simplified(build(inputs, outputs, f"c = Relu(x) n = BatchNormalization(c, gamma, beta, mean, var) {body}", weights))
    assert found.ops == ["Relu", body.split("= ", 1)[1].split("<")[0].split("(")[0]]


def miss(found: Simplified) -> str:
    assert "BatchNormalization" in found.ops
    return found.misses("fold_batch_norm")[0].reason


def test_a_padded_conv_does_not_take_the_norm_before_it():
    body = "c = Relu(x) n = BatchNormalization(c, gamma, beta, mean, var) y = Conv<pads: ints = [1, 1, 1, 1]>(n, w)"
    assert "pads with zeros" in miss(simplified(build("float[N, 8, 9, 9] x", "float[N, 4, 9, 9] y", body, {"w": (4, 8, 3, 3)})))


def test_a_conv_read_twice_keeps_its_norm():
    body = "c = Conv(x, w) n = BatchNormalization(c, gamma, beta, mean, var) y = Add(n, c)"
    assert "%c has 2 readers" in miss(simplified(build("float[N, 3, 9, 9] x", "float[N, 8, 7, 7] y", body, {"w": (8, 3, 3, 3)})))


def test_a_tied_weight_is_never_folded_into():
    body = "c = Conv(x, w) n = BatchNormalization(c, gamma, beta, mean, var) d = Conv(z, w) y = Add(n, d)"
    found = simplified(build("float[N, 3, 9, 9] x, float[N, 3, 9, 9] z", "float[N, 8, 7, 7] y", body, {"w": (8, 3, 3, 3)}))
    assert "the weight is tied: %w has 2 readers" in miss(found)


def test_an_equal_bias_shared_by_accident_is_split():
    body = "c = Conv(x, w, b) n = BatchNormalization(c, gamma, beta, mean, var) d = Conv(z, v, b) y = Add(n, d)"
    found = simplified(
        build("float[N, 3, 9, 9] x, float[N, 3, 9, 9] z", "float[N, 8, 7, 7] y", body, {"w": (8, 3, 3, 3), "v": (8, 3, 3, 3), "b": (8,)})
    )
    assert found.ops == ["Conv", "Conv", "Add"]


def test_a_trainable_program_keeps_its_norms():
    inputs, outputs, body, weights = BEFORE["Conv"]
    assert "Trainable" in miss(simplified(build(inputs, outputs, normalised(body), weights, properties=frozenset({"Trainable"}))))


def test_a_variance_that_makes_no_sense_is_a_miss():
    inputs, outputs, body, weights = BEFORE["Conv"]
    given = program(f"g ({inputs}) => ({outputs}) {{ {normalised(body)} }}", {**weights, **NORM, "var": np.full(8, -1.0, np.float32)})
    assert "not positive" in miss(simplified(given, values=False))


def test_a_norm_alone_says_what_it_stands_between():
    body = "c = Relu(x) n = BatchNormalization(c, gamma, beta, mean, var) y = Sin(n)"
    assert "between Relu and Sin" in miss(simplified(build("float[N, 8, 9] x", "float[N, 8, 9] y", body, {})))


def test_a_batched_matmul_has_its_channels_elsewhere():
    body = "c = MatMul(x, w) y = BatchNormalization(c, gamma, beta, mean, var)"
    assert miss(simplified(build("float[N, 8, 5] x", "float[N, 8, 8] y", body, {"w": (5, 8)})))


def test_half_precision_that_would_overflow_is_a_miss():
    weights: Weights = {"w": np.full((8, 3, 1), 6e4, np.float16), "big": np.full((8, 1), 4.0, np.float16)}
    found = simplified(program("g (float16[N, 3, 5] x) => (float16[N, 8, 5] y) { c = Conv(x, w) y = Mul(c, big) }", weights), values=False)
    assert found.ops == ["Conv", "Mul"]
    assert "exceeds 65504" in found.misses("fold_scale")[0].reason


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("m = Mul(a, gain) d = Add(m, offset) y = Conv(d, w, b)", ["Relu", "Conv"]),
        ("m = Mul(a, one) d = Add(m, one) y = Conv<group: int = 4>(d, v)", ["Relu", "Conv"]),
        ("m = Mul(a, gain) y = Conv<pads: ints = [1, 1, 1, 1]>(m, w, b)", ["Relu", "Conv"]),
        ("m = Mul(a, gain) d = Add(m, offset) y = Conv<pads: ints = [1, 1, 1, 1]>(d, w, b)", ["Relu", "Mul", "Add", "Conv"]),
        ("m = Mul(a, across) y = Conv(m, w, b)", ["Relu", "Mul", "Conv"]),
    ],
)
def test_what_scales_and_shifts_the_input_goes_into_the_conv(body: str, left: list[str]):
    weights: Weights = {
        "w": (6, 8, 3, 3),
        "v": (6 * 2, 2, 3, 3),
        "b": (6,),
        "gain": (8, 1, 1),
        "offset": (8, 1, 1),
        "one": np.array([3.0], np.float32),
        "across": (5, 1),
    }
    used = {name: given for name, given in weights.items() if name in body.replace("(", " ").replace(")", " ").replace(",", " ").split()}
    size = 5 if "pads" in body else 3
    text = f"g (float[N, 8, 5, 5] x) => (float[N, {12 if 'v)' in body else 6}, {size}, {size}] y) {{ a = Relu(x) {body} }}"
    found = simplified(program(text, used))
    assert found.ops == left
    if "Add" in left:
        assert "pads with zeros" in found.misses("fold_before_conv")[0].reason
