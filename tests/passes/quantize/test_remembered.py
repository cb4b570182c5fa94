"""Integers that are kept between trials."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.passes.quantize import integers
from netwright.passes.quantize.rounding import base
from netwright.passes.quantize.rounding.base import Nearest
from netwright.passes.quantize.rounding.remembered import Remembered
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, normal


def test_a_weight_is_rounded_once_for_each_form_and_by_clones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{HEAD} g (float[N, 32] x, WEIGHTS) => (float[N, 48] y) {{ y = MatMul (x, w) }}"
    program = program_of(text, {"w": normal(32, 48, seed=1)})
    calls: list[int] = []

    def counted(matrix: np.ndarray, **given: object) -> integers.Channels:
        calls.append(1)
        return integers.by_rows(matrix, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(base, "by_rows", counted)
    rounder = Remembered()
    for one in (program, program.clone(), program.clone()):
        weight = one.value("w")
        assert weight.const_value is not None
        matrix = weight.const_value.numpy().T
        found = rounder.rows(weight, matrix, bits=8)
        assert np.array_equal(found.values, integers.by_rows(matrix, bits=8).values)
    assert len(calls) == 1
    weight = program.value("w")
    matrix = normal(32, 48, seed=1).T
    factors = np.full(32, 2, np.float32)
    for given in ({"bits": 4}, {"bits": 8, "factors": factors}, {"bits": 8, "per_channel": False}):
        found = rounder.rows(weight, matrix, **given)  # type: ignore[arg-type]
        assert np.array_equal(found.values, integers.by_rows(matrix, **given).values)  # type: ignore[arg-type]
    assert len(calls) == 4
    blocks = [rounder.blocks(weight, matrix, bits=8, block_size=32, symmetric=one) for one in (True, False)]
    assert blocks[0].zero_point is None
    assert blocks[1].zero_point is not None
    again = Nearest().blocks(weight, matrix, bits=8, block_size=32, symmetric=False)
    assert np.array_equal(blocks[1].values, again.values)


def test_no_more_is_kept_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{HEAD} g (float[N, 32] x, WEIGHTS) => (float[N, 48] y) {{ y = MatMul (x, w) }}"
    weight = program_of(text, {"w": normal(32, 48, seed=1)}).value("w")
    rounder, matrix = Remembered(most=100), normal(32, 48, seed=1).T
    assert rounder.rows(weight, matrix, bits=8) is not rounder.rows(weight, matrix, bits=8)
