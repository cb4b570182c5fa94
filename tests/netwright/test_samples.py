"""Inputs are made up so that a program runs on them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx_ir
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.errors import DataError
from netwright.ir.storage import read_model
from netwright.samples import find_feeds, parse_shapes, sample_feeds
from netwright.samples.roles import Role, roles


def program_of(signature: str, body: str, *, head: str = "", opset: int = 20, tail: str = "") -> Program:
    text = f'<ir_version: 10, opset_import: ["" : {opset}, "f" : 1]> g ({signature}) => (float[M] y) {head} {{ {body} }} {tail}'
    return Program(onnx_ir.from_onnx_text(text))


TABLE = "<float[3, 2] table = {0, 1, 2, 3, 4, 5}, int64[1] one = {1}, int64 sixteen = {16}, float unit = {1}>"


@pytest.mark.parametrize(
    ("signature", "body", "role"),
    [
        ("int64[N] i", "y = Gather(table, i)", Role("index", 3)),
        ("int32[N] i", "c = Cast<to=7>(i)\n u = Unsqueeze(c, one)\n y = Gather<axis=1>(table, u)", Role("index", 2)),
        ("int64[N] i", "a = Add(i, one)\n y = Gather(table, a)", Role("index", 2)),
        ("int64[N] position_ids", "y = Gather(table, position_ids)", Role("position", 3)),
        ("int64[N] attention_mask", "y = Cast<to=1>(attention_mask)", Role("mask")),
        ("int64[N] keep", "c = Cast<to=1>(keep)\n y = Sub(unit, c)", Role("mask")),
        ("bool[N] keep, float[N] x", "y = Where(keep, x, x)", Role("mask")),
        ("int64 rate, float[N] x", "e = Equal(rate, sixteen)\n c = Cast<to=1>(e)\n y = Mul(x, c)", Role("switch", value=16)),
        ("int64[1] n", "y = ConstantOfShape(n)", Role("length")),
        ("float[N] x", "y = Sqrt(x)", Role("positive")),
        ("float[N] x", "y = Neg(x)", Role("plain")),
        ("int64[N] i", "y = f.LookUp(table, i)", Role("index", 3)),
    ],
)
def test_an_inputs_role_follows_from_what_uses_it(signature: str, body: str, role: Role):
    tail = '<domain: "f", opset_import: ["" : 20]> LookUp (t, j) => (z) { z = Gather(t, j) }' if "f.LookUp" in body else ""
    program = program_of(signature, body, head=TABLE, tail=tail)
    assert next(iter(roles(program).values())) == role


def test_an_input_is_followed_into_branches_and_out_of_them():
    body = """r = If (c) <then_branch = t () => (int64[N] p) { p = Identity(i) }, else_branch = e () => (int64[N] q) { q = Neg(i) }>
    y = Gather(table, r)"""
    assert roles(program_of("int64[N] i, bool c", body, head=TABLE))["i"] == Role("index", 3)


def test_indices_stay_inside_their_table_for_every_seed():
    program = program_of("int64[N] i", "y = Gather(table, i)", head=TABLE)
    drawn = np.concatenate([sample_feeds(program, seed=seed, dims={"N": 50})[0]["i"] for seed in range(5)])
    assert set(drawn.tolist()) == {0, 1, 2}


def test_the_same_seed_gives_the_same_arrays_and_sets_differ():
    program = program_of("float[N] x", "y = Neg(x)")
    first, second = sample_feeds(program, count=2, seed=3)
    again = sample_feeds(program, count=1, seed=3)[0]
    assert np.array_equal(first["x"], again["x"])
    assert not np.array_equal(first["x"], second["x"])


def test_symbols_are_bound_across_inputs_and_expressions_follow():
    program = program_of("float[batch, seq] x, float[batch, 4] z, int64[batch, seq] m", "y = Neg(x)")
    program.inputs[1].shape = onnx_ir.Shape(["batch", onnx_ir.SymbolicDim("seq") + 1])
    shapes = {name: feed.shape for name, feed in sample_feeds(program, shapes={"x": (3, 5)})[0].items()}
    assert shapes == {"x": (3, 5), "z": (3, 6), "m": (3, 5)}


def test_ranges_override_roles():
    program = program_of("int64[N] i, float[N] x", "a = Gather(table, i)\n y = Neg(x)", head=TABLE)
    feeds = sample_feeds(program, ranges={"i": (2, 3), "x": (5.0, 6.0)})[0]
    assert set(feeds["i"].tolist()) == {2}
    assert feeds["x"].min() >= 5.0


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"shapes": {"q": (1,)}}, "no input 'q'"),
        ({"shapes": {"x": (1, 2)}}, "has rank 1, not 2"),
        ({"shapes": {"x": (3,)}, "dims": {"N": 2}}, "is 2, not 3"),
        ({"ranges": {"q": (0, 1)}}, "no input 'q'"),
        ({"ranges": {"i": (3, 3)}}, "No integer"),
    ],
)
def test_what_fits_no_input_is_refused(chosen: dict[str, dict[str, tuple[int, ...]]], message: str):
    program = program_of("float[N] x, int64[N] i", "y = Neg(x)")
    with pytest.raises(DataError, match=message):
        sample_feeds(program, **chosen)  # pyright: ignore[reportArgumentType]


def test_sizes_are_tried_until_the_program_runs():
    program = program_of("float[batch, length] x", "s = Constant<value_ints=[-1, 576]>()\n y = Reshape(x, s)")
    assert find_feeds(program, OrtExecutor())["x"].shape == (1, 576)


def test_preferred_sizes_come_first_and_chosen_ones_stay():
    program = program_of("float[batch, length] x", "y = Neg(x)")
    assert find_feeds(program, OrtExecutor(), prefer={"batch": 1, "length": 9})["x"].shape == (1, 9)
    assert find_feeds(program, OrtExecutor(), prefer={"batch": 1, "length": 9}, dims={"batch": 4})["x"].shape == (4, 9)
    assert find_feeds(program, OrtExecutor(), prefer={"batch": 1, "length": 9}, shapes={"x": (5, 6)})["x"].shape == (5, 6)
    picky = program_of("float[batch, length] x", "s = Constant<value_ints=[-1, 576]>()\n y = Reshape(x, s)")
    assert find_feeds(picky, OrtExecutor(), prefer={"batch": 1, "length": 9})["x"].shape == (1, 576)


def test_a_program_that_nothing_runs_says_why():
    program = program_of("float[N] x", "s = Constant<value_ints=[-1, 9973]>()\n y = Reshape(x, s)")
    with pytest.raises(DataError, match="ran on none of the") as caught:
        find_feeds(program, OrtExecutor())
    assert "--shape" in (caught.value.remedy or "")


def test_shapes_are_read_from_text():
    assert parse_shapes(["x=2x128", "a.b=7", "y=1,3", "s=scalar"]) == {"x": (2, 128), "a.b": (7,), "y": (1, 3), "s": ()}


@pytest.mark.parametrize("text", ["x", "x=", "=2", "x=2xx3", "x=-1", "x=2x"])
def test_text_that_is_no_shape_is_refused(text: str):
    with pytest.raises(DataError, match="is no shape"):
        parse_shapes([text])


def test_one_input_takes_one_shape():
    with pytest.raises(DataError, match="two shapes"):
        parse_shapes(["x=1", "x=2"])


REAL = (
    ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx"),
    ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx"),
    ("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
    ("silero_vad", "data/silero_vad.onnx"),
    ("silero_vad", "data/silero_vad_16k_sequence.onnx"),
    ("silero_vad", "data/silero_vad_op18_ifless.onnx"),
)


@pytest.mark.parametrize(("package", "path"), REAL, ids=[path.rpartition("/")[2] for _, path in REAL])
def test_real_models_run_on_what_is_made_up(package: str, path: str):
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    program = Program(read_model(Path(spec.origin).parent / path))
    feeds = find_feeds(program, OrtExecutor(threads=2))
    if "sr" in feeds:
        assert feeds["sr"].item() in (8000, 16000)
    if path.endswith("silero_vad.onnx"):
        assert not feeds["state"].any()
