"""Any value of a program can be had, and computed from inner values."""

from __future__ import annotations

import numpy as np
import onnx_ir
import pytest

from netwright.backends.onnxruntime import OrtExecutor, SessionOptions, executor
from netwright.backends.onnxruntime.binding import Session
from netwright.ir import Program
from netwright.ir.errors import DataError

CHAIN = """<ir_version: 10, opset_import: ["" : 20]>
g (float[N] x, float[N] unused) => (float[N] y) <float[1] two = {2}> { a = Mul(x, two)\n b = Neg(a)\n y = Abs(b) }"""
BRANCH = """<ir_version: 10, opset_import: ["" : 20]>
g (float[N] x, bool c) => (float[N] y) <float[1] two = {2}>
{ a = Mul(x, two)
  y = If (c) <then_branch = t () => (float[N] p) { p = Neg(a) }, else_branch = e () => (float[N] q) { q = Add(a, two) }> }"""


def program_of(text: str) -> Program:
    return Program(onnx_ir.from_onnx_text(text))


def test_inner_values_inputs_and_outputs_come_in_the_order_asked_for():
    found = OrtExecutor().run(program_of(CHAIN), {"x": [1.0, -3.0], "unused": [0.0, 0.0]}, ["y", "x", "b"])
    assert {name: array.tolist() for name, array in found.items()} == {"y": [2.0, 6.0], "x": [1.0, -3.0], "b": [-2.0, 6.0]}
    assert list(found) == ["y", "x", "b"]


def test_initializers_can_be_wanted():
    assert OrtExecutor().run(program_of(CHAIN), {"x": [1.0]}, ["two"])["two"].tolist() == [2.0]


def test_an_inner_value_that_is_fed_is_not_computed():
    assert OrtExecutor().run(program_of(CHAIN), {"a": np.array([7.0], np.float32)}, ["y"])["y"].tolist() == [7.0]


@pytest.mark.parametrize(("choice", "expected"), [(True, [-2.0]), (False, [4.0])])
def test_what_branches_capture_comes_along(choice: bool, expected: list[float]):
    assert OrtExecutor().run(program_of(BRANCH), {"x": [1.0], "c": choice})["y"].tolist() == expected


def test_one_session_serves_many_batches_until_the_program_changes(monkeypatch: pytest.MonkeyPatch):
    made: list[object] = []
    load = executor.load

    def counting(model: onnx_ir.Model, options: SessionOptions) -> Session:
        made.append(model)
        return load(model, options)

    monkeypatch.setattr(executor, "load", counting)
    runner, program = OrtExecutor(), program_of(CHAIN)
    for size in (1, 2, 3):
        assert len(runner.run(program, {"x": np.ones(size, np.float32)})["y"]) == size
    assert len(made) == 1
    program.touch()
    runner.run(program, {"x": [1.0]})
    runner.run(program, {"x": [1.0]}, ["a"])
    assert len(made) == 3


@pytest.mark.parametrize(
    ("feeds", "wanted", "message"),
    [
        ({"x": [1.0]}, ["nowhere"], "no value 'nowhere'"),
        ({}, ["y"], "needs the input 'x'"),
        ({"x": [1.0], "z": [1.0]}, ["y"], "no input 'z'"),
    ],
)
def test_what_cannot_be_computed_is_refused(feeds: dict[str, object], wanted: list[str], message: str):
    with pytest.raises(DataError, match=message):
        OrtExecutor().run(program_of(CHAIN), feeds, wanted)


def test_values_inside_branches_have_no_single_value():
    with pytest.raises(DataError, match="no value 'p'"):
        OrtExecutor().run(program_of(BRANCH), {"x": [1.0], "c": True}, ["p"])
