"""Common subexpressions, dead code, functions and branches."""

from __future__ import annotations

import onnx_ir

from netwright.ir import Program
from tests.passes.simplify.support import simplified, simplify


def test_equal_nodes_are_one():
    found = simplify("g (float[N] x, float[N] z) => (float[N] y) { a = Add(x, z) b = Add(z, x) c = Exp(a) d = Exp(b) y = Mul(c, d) }")
    assert found.ops == ["Add", "Exp", "Mul"]


def test_nodes_with_other_attributes_stay():
    found = simplify("g (float[N, M] x) => (float[N, M] y) { a = Softmax<axis: int = 0>(x) b = Softmax<axis: int = 1>(x) y = Add(a, b) }")
    assert found.ops == ["Softmax", "Softmax", "Add"]


def test_equal_small_constants_make_nodes_equal():
    found = simplify("g (float[N] x) => (float[N] y) <float a = {2.5}, float b = {2.5}> { p = Pow(x, a) q = Pow(x, b) y = Add(p, q) }")
    assert found.ops == ["Pow", "Add"]


def test_equal_matrices_are_not_tied():
    text = """g (float[N, 2] x) => (float[N, 2] y) <float[2,2] a = {1, 2, 3, 4}, float[2,2] b = {1, 2, 3, 4}>
    { p = MatMul(x, a) q = MatMul(p, b) y = Exp(q) }"""
    assert len(list(simplify(text).after.initializers())) == 2


def test_a_node_that_died_with_a_merged_reader_is_no_longer_merged_into():
    text = """g (float[N, M] x, float s) => (float[N, M] y)
    { a = Shape(x) b = Expand(s, a) c = Shape(b) d = Expand(s, c) y = Exp(d) }"""
    assert sorted(simplify(text).ops) == ["Exp", "Expand", "Shape"]


def test_random_nodes_are_not_merged():
    found = simplify("g (float[N] x) => (float[N] y) { a = RandomNormalLike(x) b = RandomNormalLike(x) y = Sub(a, b) }", values=False)
    assert found.ops == ["RandomNormalLike", "RandomNormalLike", "Sub"]


def test_equal_outputs_stay_two():
    found = simplify("g (float[N] x) => (float[N] y, float[N] z) { y = Exp(x) z = Exp(x) }")
    assert found.ops == ["Exp", "Exp"]
    assert "both are graph outputs" in found.misses("share")[0].reason


def test_one_output_among_equals_keeps_its_name():
    found = simplify("g (float[N] x) => (float[N] z, float[N] y) { a = Exp(x) z = Exp(x) y = Neg(a) }")
    assert found.ops == ["Exp", "Neg"]
    assert [value.name for value in found.after.outputs] == ["z", "y"]


def test_unread_nodes_and_weights_go():
    found = simplify("g (float[N] x) => (float[N] y) <float[2] unused = {1, 2}> { a = Exp(x) b = Neg(a) y = Abs(x) }")
    assert found.ops == ["Abs"]
    assert not list(found.after.initializers())


def test_unread_optional_outputs_go():
    found = simplify(
        "g (float[N, 1, 8, 8] x) => (float[N, 1, 4, 4] y) { y, i = MaxPool<kernel_shape: ints = [2, 2], strides: ints = [2, 2]>(x) }"
    )
    assert len(found.after.graph[0].outputs) == 1


def test_read_optional_outputs_stay():
    found = simplify(
        """g (float[N, 1, 8, 8] x) => (float[N, 1, 4, 4] y, int64[N, 1, 4, 4] i)
    { y, i = MaxPool<kernel_shape: ints = [2, 2], strides: ints = [2, 2]>(x) }"""
    )
    assert len(found.after.graph[0].outputs) == 2


CALLS = """<ir_version: 10, opset_import: ["" : 20, "DOMAIN" : 1]>
g (float[N] x) => (float[N] y) { a = DOMAIN.twice<times: float = 3.0>(x) b = DOMAIN.twice<times: float = 2.0>(a) y = Exp(b) }
<domain: "DOMAIN", opset_import: ["" : 20]> twice <times> (t) => (u)
{ c = Constant<value_float: float = @times>() v = Mul(t, c) w = Tanh(v) u = Neg(w) }
<domain: "DOMAIN", opset_import: ["" : 20]> unused (t) => (u) { u = Neg(t) }"""


def test_functions_are_inlined():
    found = simplified(Program(onnx_ir.from_onnx_text(CALLS.replace("DOMAIN", "mine"))))
    assert found.ops == ["Mul", "Tanh", "Neg", "Mul", "Tanh", "Neg", "Exp"]
    assert not found.after.model.functions


def test_netwrights_own_functions_stay():
    text = CALLS.replace("DOMAIN", "netwright")
    found = simplified(Program(onnx_ir.from_onnx_text(text)), values=False)
    assert found.ops == ["twice", "twice", "Exp"]
    assert len(found.after.model.functions) == 1


BRANCH = """g (float[N] x) => (float[N] y) <bool yes = {CONDITION}>
{ z = If(yes) <then_branch = one () => (float[N] a) { a = Neg(x) }, else_branch = two () => (float[N] b) { b = Abs(x) }> y = Exp(z) }"""


def test_a_known_branch_takes_the_place_of_the_if():
    assert simplify(BRANCH.replace("CONDITION", "1")).ops == ["Neg", "Exp"]
    assert simplify(BRANCH.replace("CONDITION", "0")).ops == ["Abs", "Exp"]


def test_an_unknown_branch_stays():
    text = """g (float[N] x, bool c) => (float[N] y)
    { z = If(c) <then_branch = one () => (float[N] a) { a = Neg(x) }, else_branch = two () => (float[N] b) { d = Identity(x)
    e = Abs(d) b = Abs(e) }> y = Exp(z) }"""
    found = simplify(text)
    assert found.ops == ["If", "Exp"]
    assert sum(1 for _ in found.after.nodes()) == 4


def test_a_branch_that_passes_a_value_on_keeps_an_output_apart():
    text = """g (float[N] x) => (float[N] y) <bool yes = {1}>
    { y = If(yes) <then_branch = one () => (float[N] a) { a = Identity(x) }, else_branch = two () => (float[N] b) { b = Abs(x) }> }"""
    assert simplify(text).ops == ["Identity"]
