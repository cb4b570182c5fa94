"""Products do not depend on threads, on how vectors are cut, nor on how a matrix is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from netwright.backends.cim.coding.model import Coding, Converter, Disturbance, Masking
from netwright.backends.cim.engines import MvmCounts, divide, prepare
from tests.backends.cim.engines.cases import Case, cases
from tests.backends.cim.engines.test_against_reference import assert_same

RNG = np.random.default_rng(3)
X, W = RNG.integers(0, 256, (200, 90)).astype(np.uint8), RNG.integers(-128, 128, (90, 6)).astype(np.int8)
CODINGS = [
    Coding(rows=32, converter=Converter(mode="step", bits=6)),
    Coding(rows=32, converter=Converter(mode="step", bits=4, step=2)),
    Coding(rows=32, converter=Converter(mode="charge", bits=4), masking=Masking(granularity="plane", threshold=0.0)),
    Coding(rows=32, converter=Converter(mode="step", bits=4, step=2), noise=Disturbance(conversion=1.5, cell=0.1, seed=4)),
]


@pytest.mark.parametrize("coding", CODINGS, ids=["collapsed", "step", "charge", "noise"])
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_two_threads_give_what_one_gives(coding: Coding, engine: str):
    one = prepare(W, coding, engine=engine, counts="exact", threads=1).multiply(X)  # pyright: ignore[reportArgumentType]
    two = prepare(W, coding, engine=engine, counts="exact", threads=2).multiply(X)  # pyright: ignore[reportArgumentType]
    assert np.array_equal(one.values, two.values)
    assert one.engine == two.engine
    assert_same(two.counts, one.counts)


@given(case=cases(), cut=st.integers(0, 4), first=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_vectors_cut_anywhere(case: Case, cut: int, first: int):
    prepared = prepare(case.w, case.coding, counts="exact")
    numbers = np.arange(first, first + case.x.shape[0], dtype=np.int64)
    whole = prepared.multiply(case.x, numbers=numbers)
    pieces = [prepared.multiply(case.x[part], numbers=numbers[part]) for part in (slice(0, cut), slice(cut, None))]
    counts = MvmCounts()
    for piece in pieces:
        counts.add(piece.counts)
    assert np.array_equal(np.concatenate([piece.values for piece in pieces]), whole.values)
    assert_same(counts, whole.counts)


@given(case=cases(), cut=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_columns_cut_anywhere(case: Case, cut: int):
    assume(cut < case.w.shape[1])
    whole = prepare(case.w, case.coding).multiply(case.x)
    parts = [
        prepare(part, case.coding, first_column=first).multiply(case.x) for first, part in ((0, case.w[:, :cut]), (cut, case.w[:, cut:]))
    ]
    assert np.array_equal(np.concatenate([part.values for part in parts], axis=1), whole.values)


@given(case=cases(), blocks=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_rows_cut_between_blocks(case: Case, blocks: int):
    """Numerators of pieces add up to the whole's, whatever the converter: a matrix may be cut between any blocks."""
    cut = blocks * case.coding.rows
    assume(cut < case.w.shape[0])
    whole = prepare(case.w, case.coding)
    upper, lower = prepare(case.w[:cut], case.coding), prepare(case.w[cut:], case.coding, first_block=blocks)
    assert upper.denominator == lower.denominator == whole.denominator
    pieces = [upper.multiply(case.x[:, :cut], fractions=True).values, lower.multiply(case.x[:, cut:], fractions=True).values]
    values = whole.multiply(case.x).values
    assert {piece.dtype for piece in pieces} == {np.dtype(np.int64)}
    assert np.array_equal(divide(pieces[0] + pieces[1], whole.denominator, values.dtype), values)
