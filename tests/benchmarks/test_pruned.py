"""What judges pruned models: a result that is wrong in any way is called so, whoever made it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks._pruned import complaint, difference, dims_at
from benchmarks._pruning_peers import measure, said

FEEDS = [{"x": np.ones((batch, 2), np.float32)} for batch in (1, 3)]


def saved(folder: Path, body: str) -> Path:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 20]> g (float[n, 2] x) => (float[m, k] y) {{ {body} }}')
    path = folder / f"{abs(hash(body))}.onnx"
    onnx.save(model, path)
    return path


def test_a_file_of_other_values_is_valid(tmp_path: Path):
    assert complaint(saved(tmp_path, "y = Relu(x)"), saved(tmp_path, "y = Neg(x)"), FEEDS) == ""


@pytest.mark.parametrize(
    ("body", "said_of_it"),
    [
        ("w = Constant<value_floats=[1.0, 2.0, 3.0]>() y = Add(x, w)", "invalid: "),
        ("y = Concat<axis=1>(x, x)", "its outputs are [(1, 4)], not [(1, 2)]"),
        ("z = Sub(x, x) y = Div(x, z)", "its outputs are not finite"),
        ("y = NoSuchOperator(x)", "invalid: ValidationError"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, body: str, said_of_it: str):
    assert complaint(saved(tmp_path, body), saved(tmp_path, "y = Relu(x)"), FEEDS).startswith(said_of_it)


def test_an_output_s_dimensions_are_what_came_out(tmp_path: Path):
    assert dims_at(saved(tmp_path, "y = Concat<axis=1>(x, x)"), FEEDS[1]) == {"n": 3, "m": 3, "k": 4}


def test_a_difference_is_relative_to_the_largest_element():
    assert difference({"y": np.array([2.0, 102.0])}, {"y": np.array([0.0, 100.0])}) == pytest.approx(0.02)


def test_an_exception_is_told_by_its_class_and_first_line():
    assert said(ValueError("too wide\nby far")) == "ValueError: too wide"
    assert said(AssertionError()) == "AssertionError"


@pytest.mark.slow
def test_a_peer_s_crash_is_its_result():
    pytest.importorskip("torch_pruning")
    found = measure("lstm", "module", "head features")
    assert found.after is None
    assert found.wrong.startswith("IndexError")
