"""Constants are folded within bounds: never much larger, never untying, never a trainable parameter without a way back."""

from __future__ import annotations

import numpy as np
import onnx_ir
import pytest

from netwright.ir.lineage import lineage
from netwright.ir.maps import Permute
from netwright.passes.simplify.fold import FREE_BYTES
from tests.passes.programs import program_of
from tests.passes.simplify.support import simplified, simplify

TRANSPOSED = """<ir_version: 10, opset_import: ["" : 20]>
g (float[N, S, 96] x, WEIGHTS) => (float[N, S, 64] y) { t = Transpose<perm: ints = [1, 0]>(w) y = MatMul(x, t) }"""
TIED = """<ir_version: 10, opset_import: ["" : 20]>
g (int64[N, S] i, WEIGHTS) => (float[N, S, 64] y)
{ e = Gather(w, i) t = Transpose<perm: ints = [1, 0]>(w) p = MatMul(e, t) y = Exp(p) }"""


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32) / 10


def test_a_transposed_weight_is_folded_with_its_map():
    found = simplified(program_of(TRANSPOSED, {"w": weight(64, 96)}))
    assert found.ops == ["MatMul"]
    mapped = lineage(found.after.ledger, found.operand(0, 1).name or "")
    assert mapped.sources == ("w",)
    assert mapped.map == Permute((1, 0))


def test_a_large_result_is_computed_only_when_it_is_read():
    found = simplified(program_of(TRANSPOSED.replace("96", "960"), {"w": weight(64, 960)}))
    tensor = found.operand(0, 1).const_value
    assert isinstance(tensor, onnx_ir.LazyTensor)
    np.testing.assert_array_equal(tensor.numpy(), weight(64, 960).T)


def test_a_tied_weight_is_not_untied():
    found = simplified(program_of(TIED, {"w": weight(64, 64)}))
    assert [value.name for value in found.after.initializers()] == ["w"]
    assert "would untie it" in found.misses("fold_constants")[0].reason


@pytest.mark.parametrize(
    ("body", "op"),
    [
        ("e = Expand(one, s) y = Add(x, e)", "Expand"),
        ("e = Tile(v, r) y = Add(x, e)", "Tile"),
        ("e = ConstantOfShape<value: tensor = float[1] {2}>(s) y = Add(x, e)", "ConstantOfShape"),
    ],
)
def test_small_constants_are_not_blown_up(body: str, op: str):
    text = f"""g (float[N, 512, 512] x) => (float[N, 512, 512] y)
    <float one = {{2}}, int64[2] s = {{512, 512}}, float[2] v = {{1, 2}}, int64[1] r = {{256}}> {{ {body} }}""".replace(
        "r = {256}> { e = Tile(v, r)", "r = {100000}> { e = Tile(v, r)"
    )
    if op == "Tile":
        text = text.replace("float[N, 512, 512] x", "float[N, 200000] x").replace("float[N, 512, 512] y", "float[N, 200000] y")
    found = simplify(text)
    assert found.ops in ([op, "Add"], ["Add"])
    assert all(tensor.nbytes <= FREE_BYTES for value in found.after.initializers() if (tensor := value.const_value) is not None)
    if op in found.ops:
        assert any("would take the place of" in miss.reason for miss in found.misses("fold_constants"))


def test_small_arithmetic_is_folded_by_table_and_by_reference():
    text = """g (float[N, 2] x) => (float[N, 2] y) <float[2] a = {1, 2}, float[2] b = {3, 5}>
    { c = Div(a, b) d = Erf(c) e = Tanh(d) y = Mul(x, e) }"""
    assert simplify(text).ops == ["Mul"]


@pytest.mark.parametrize(("a", "b", "quotient"), [(7, 2, 3), (-7, 2, -3), (7, -2, -3), (-7, -2, 3)])
def test_integers_divide_towards_zero(a: int, b: int, quotient: int):
    text = f"""g (int64[N] x) => (int64[N] y) <int32[1] a = {{{a}}}, int32[1] b = {{{b}}}> {{ q = Div(a, b)
    r = Cast<to: int = 7>(q) y = Add(x, r) }}"""
    found = simplify(text)
    assert found.ops == ["Add"]
    assert found.constant(0, 1).tolist() == [quotient]


def test_integer_division_by_zero_is_a_miss():
    text = "g (int64[N] x) => (int64[N] y) <int32[1] a = {1}, int32[1] b = {0}> { q = Div(a, b) r = Cast<to: int = 7>(q) y = Add(x, r) }"
    assert "division by zero" in simplify(text, values=False).misses("fold_constants")[0].reason


def test_random_numbers_are_not_folded():
    found = simplify("g () => (float[2, 2] y) { r = RandomNormal<shape: ints = [2, 2]>() y = Exp(r) }", values=False)
    assert found.ops == ["RandomNormal", "Exp"]


def test_quantized_constants_do_not_grow_back():
    text = """g (float[N, 4] x) => (float[N, 4] y) <uint8[4] q = {1, 2, 3, 4}, float s = {0.5}, uint8 z = {2}>
    { w = DequantizeLinear(q, s, z) y = Add(x, w) }"""
    assert simplify(text).ops == ["DequantizeLinear", "Add"]


def test_a_constant_output_keeps_a_node():
    found = simplify("g (float[N] x) => (float[2] y, float[N] z) <float[2] a = {1, 2}> { y = Exp(a) z = Exp(x) }")
    assert found.ops == ["Exp", "Exp"]
    assert "constant graph output" in found.misses("fold_constants")[0].reason


def test_an_initializer_that_the_caller_may_override_is_no_constant():
    text = "g (float[2] a, float[N, 2] x) => (float[N, 2] y) <float[2] a = {1, 2}> { b = Exp(a) y = Mul(x, b) }"
    found = simplify(text, values=False)
    assert found.ops == ["Exp", "Mul"]


def test_in_a_trainable_program_only_what_has_a_way_back_is_folded():
    program = program_of(TRANSPOSED, {"w": weight(64, 96)})
    program.properties = frozenset({"Trainable"})
    assert simplified(program).ops == ["MatMul"]
    text = TRANSPOSED.replace("t = Transpose<perm: ints = [1, 0]>(w)", "u = Tanh(w) t = Transpose<perm: ints = [1, 0]>(u)")
    program = program_of(text, {"w": weight(64, 96)})
    program.properties = frozenset({"Trainable"})
    found = simplified(program)
    assert "Tanh" in found.ops
    assert "trainable" in found.misses("fold_constants")[0].reason
