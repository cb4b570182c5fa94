"""Errors are measured per output, against the reference."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from netwright.passes.numerics import Close, Exact, Lossy
from netwright.passes.values import difference, errors, within


def test_the_worst_output_is_the_one_with_the_largest_relative_error():
    reference = {"large": np.array([1000.0, 0.0]), "small": np.array([0.1, 0.0])}
    actual = {"large": np.array([1001.0, 0.0]), "small": np.array([0.2, 0.0])}
    stats = errors(reference, actual)
    assert stats.worst_output == "small"
    assert stats.max_abs == 1.0
    assert stats.rel == pytest.approx(1.0)


def test_tolerances_are_relative_to_the_largest_element_of_each_output():
    stats = errors({"y": np.array([100.0, 1e-6])}, {"y": np.array([100.0, 9e-3])})
    assert within(stats, Close(rtol=1e-4, atol=0.0))
    assert not within(stats, Close(rtol=1e-5, atol=0.0))
    assert not within(stats, Exact())
    assert within(stats, Lossy())


def test_exact_means_bit_equal_values():
    same = {"y": np.array([1, 2**53 + 1], np.int64)}
    assert within(errors(same, {"y": same["y"].copy()}), Exact())
    assert not within(errors(same, {"y": np.array([1, 2**53], np.int64)}), Exact())


@pytest.mark.parametrize(
    ("old", "new", "max_abs"),
    [
        ([np.nan, 1.0], [np.nan, 1.0], 0.0),
        ([np.inf, 1.0], [np.inf, 1.5], 0.5),
        ([np.inf, 1.0], [-np.inf, 1.0], math.inf),
        ([1.0, 1.0], [np.nan, 1.0], math.inf),
    ],
)
def test_what_is_not_finite_must_be_the_same(old: list[float], new: list[float], max_abs: float):
    found = difference("y", np.array(old), np.array(new))
    assert found.max_abs == max_abs
    assert math.isnan(found.cosine)


def test_cosine_and_relative_error():
    found = difference("y", np.array([3.0, 0.0], np.float32), np.array([3.0, 4.0], np.float32))
    assert found.cosine == pytest.approx(0.6)
    assert found.rel == pytest.approx(4 / 3)
    assert difference("y", np.zeros(3), np.zeros(3)).cosine == 1.0
    assert difference("y", np.zeros(3), np.ones(3)).rel == math.inf


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), r"shape \[3, 2\] instead of \[2, 3\]"),
        (np.zeros(2), None, "missing"),
        (None, np.zeros(2), "missing from the reference"),
        (np.array(["a"], object), np.zeros(1), "float64 instead of object"),
    ],
)
def test_what_cannot_be_compared_is_no_match_whatever_is_promised(old: np.ndarray | None, new: np.ndarray | None, problem: str):
    stats = errors({} if old is None else {"y": old}, {} if new is None else {"y": new})
    assert stats.max_abs == math.inf
    assert not within(stats, Lossy())
    assert re.fullmatch(problem, stats.outputs[0].problem)


def test_strings_booleans_and_large_arrays_are_compared():
    assert difference("s", np.array(["a", "b"], object), np.array(["a", "b"], object)).max_abs == 0.0
    assert difference("s", np.array(["a", "b"], object), np.array(["a", "c"], object)).max_abs == math.inf
    assert difference("b", np.array([True, False]), np.array([True, True])).max_abs == 1.0
    large = np.ones((1 << 20) + 5, np.float32)
    changed = large.copy()
    changed[-1] = 3.0
    assert difference("x", large, changed).max_abs == 2.0


def test_an_error_is_json_without_infinities():
    found = difference("y", np.array([1.0]), np.array([np.nan])).to_dict()
    assert found["max_abs_error"] is None
    assert found["nonfinite"] == [0, 1]
