"""Nodes that return what they are given go; guards keep those that do not."""

from __future__ import annotations

import pytest

from tests.passes.simplify.support import simplify

GONE = {
    "drop_identity": "t = Identity(x)",
    "drop_dropout": "t = Dropout(x)",
    "drop_cast": "t = Cast<to: int = 1>(x)",
    "drop_transpose": "t = Transpose<perm: ints = [0, 1, 2]>(x)",
    "drop_same_shape Reshape": "s = Constant<value: tensor = int64[3] {0, 0, 0}>() t = Reshape(x, s)",
    "drop_same_shape Expand": "s = Constant<value: tensor = int64[3] {1, 1, 4}>() t = Expand(x, s)",
    "drop_same_shape Expand to its own shape": "s = Shape(x) t = Expand(x, s)",
    "drop_same_shape Tile": "s = Constant<value: tensor = int64[3] {1, 1, 1}>() t = Tile(x, s)",
    "drop_full_slice": """a = Constant<value: tensor = int64[1] {0}>() e = Constant<value: tensor = int64[1]
    {9223372036854775807}>() t = Slice(x, a, e)""",
    "drop_full_slice of a computed length": """a = Constant<value: tensor = int64[1] {0}>()
    e = Shape<start: int = 0, end: int = 1>(x) t = Slice(x, a, e, a)""",
    "drop_single_input Concat": "t = Concat<axis: int = 0>(x)",
    "drop_single_input Sum": "t = Sum(x)",
    "drop_single_input Max": "t = Max(x)",
    "drop_pad": "p = Constant<value: tensor = int64[6] {0, 0, 0, 0, 0, 0}>() t = Pad(x, p)",
    "drop_split": "t = Split<axis: int = 2, num_outputs: int = 1>(x)",
    "drop_clip": "t = Clip(x)",
    "drop_clip with infinite bounds": """o = Constant<value_float: float = 1.0>() z = Constant<value_float: float = 0.0>()
    h = Div(o, z) l = Neg(h) t = Clip(x, l, h)""",
    "drop_full_gather": "i = Constant<value: tensor = int64[4] {0, 1, 2, 3}>() t = Gather<axis: int = 2>(x, i)",
    "drop_reduce over no axes": "t = ReduceSum<noop_with_empty_axes: int = 1>(x)",
    "drop_double": "n = Neg(x) t = Neg(n)",
}


@pytest.mark.parametrize(("name", "body"), GONE.items(), ids=GONE.keys())
def test_what_changes_nothing_goes(name: str, body: str):
    found = simplify(f"g (float[N, S, 4] x) => (float[N, S, 4] y) {{ r = Abs(x) {body.replace('(x', '(r')} y = Exp(t) }}")
    assert found.ops == ["Abs", "Exp"]


def test_repeated_operators_go_once():
    assert simplify("g (float[N] x) => (float[N] y) { a = Relu(x) b = Relu(a) y = Relu(b) }").ops == ["Relu"]


def test_rounding_does_nothing_to_whole_numbers():
    assert simplify("g (int64[N] x) => (float[N] y) { a = Cast<to: int = 1>(x) b = Floor(a) y = Exp(b) }").ops == ["Cast", "Exp"]


def test_an_identity_from_input_to_output_stays():
    assert simplify("g (float[N] x) => (float[N] y) { y = Identity(x) }").ops == ["Identity"]


def test_an_output_keeps_its_name_when_its_node_goes():
    found = simplify("g (float[N] x) => (float[N] y) { a = Exp(x) y = Identity(a) }")
    assert found.ops == ["Exp"]
    assert [value.name for value in found.after.outputs] == ["y"]


def test_one_value_cannot_be_two_outputs():
    found = simplify("g (float[N] x) => (float[N] y, float[N] z) { y = Exp(x) z = Identity(y) }")
    assert found.ops == ["Exp", "Identity"]


KEPT = {
    "a slice that reverses": (
        "Slice",
        "a = Constant<value: tensor = int64[1] {-1}>() e = Constant<value: tensor = int64[1] {-9223372036854775807}>() "
        "t = Slice(x, a, e, a, a)",
    ),
    "a gather in another order": ("Gather", "i = Constant<value: tensor = int64[4] {0, 1, 3, 2}>() t = Gather<axis: int = 2>(x, i)"),
    "a transpose of equal extents": ("Transpose", "t = Transpose<perm: ints = [1, 0, 2]>(x)"),
    "a clip at a bound": ("Clip", "l = Constant<value_float: float = 0.0>() t = Clip(x, l)"),
    "a triangle": ("Trilu", "t = Trilu(x)"),
    "a reduction over all axes": ("ReduceSum", "t = ReduceSum<keepdims: int = 1>(x)"),
    "a narrowing and widening cast": ("Cast", "c = Cast<to: int = 10>(x) t = Cast<to: int = 1>(c)"),
}


@pytest.mark.parametrize(("op", "body"), KEPT.values(), ids=KEPT.keys())
def test_what_changes_something_stays(op: str, body: str):
    found = simplify(f"g (float[N, N, 4] x) => (float[a, b, c] y) {{ {body} y = Exp(t) }}")
    assert op in found.ops


def test_dropout_in_training_mode_is_a_miss():
    found = simplify(
        "g (float[N] x, bool t) => (float[N] y) { r = Constant<value_float: float = 0.0>() y = Dropout(x, r, t) }",
        values=False,
    )
    assert found.ops == ["Dropout"]
    assert "training mode" in found.misses("drop_dropout")[0].reason


def test_dropout_whose_mask_is_read_is_a_miss():
    found = simplify("g (float[N] x) => (float[N] y, bool[N] m) { y, m = Dropout(x) }")
    assert "mask is read" in found.misses("drop_dropout")[0].reason


def test_empty_inputs_of_concat_go():
    found = simplify("g (float[N] x, float[N] z) => (float[M] y) <float[0] e = {}> { y = Concat<axis: int = 0>(x, e, z) }")
    assert len(found.after.graph[0].inputs) == 2
