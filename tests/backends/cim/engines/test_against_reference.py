"""Every engine against the plain loops: values and every count, whatever the coding."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.backends.cim.coding.model import Coding, Converter, Masking
from netwright.backends.cim.coding.reference import reference
from netwright.backends.cim.engines import MvmCounts, prepare
from tests.backends.cim.engines.cases import Case, cases


def check(case: Case, engine: str, *, first_block: int = 0, first_column: int = 0) -> str:
    values, counts = reference(case.x, case.w, case.coding, first_block=first_block, first_column=first_column)
    prepared = prepare(
        case.w,
        case.coding,
        first_block=first_block,
        first_column=first_column,
        engine=engine,  # pyright: ignore[reportArgumentType]
        counts="exact",
    )
    outcome = prepared.multiply(case.x)
    assert outcome.values.dtype == values.dtype
    assert np.array_equal(outcome.values, values)
    assert_same(outcome.counts, counts)
    assert outcome.sampled == 1.0
    return outcome.engine


def assert_same(found: MvmCounts, wanted: MvmCounts) -> None:
    for one in fields(MvmCounts):
        if one.name != "charge":
            assert getattr(found, one.name) == getattr(wanted, one.name), one.name
    assert found.charge == pytest.approx(wanted.charge, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@given(case=cases(), first_block=st.integers(0, 3), first_column=st.integers(0, 9))
@settings(max_examples=250, deadline=None)
def test_engines_equal_the_reference(engine: str, case: Case, first_block: int, first_column: int):
    check(case, engine, first_block=first_block, first_column=first_column)


RNG = np.random.default_rng(11)
WIDE = [
    Coding(rows=128, converter=Converter(mode="step", bits=6, step=4)),
    Coding(rows=128, converter=Converter(mode="step", bits=5, step=8), encoding="differential"),
    Coding(rows=128, converter=Converter(mode="step", bits=6, step=8), encoding="differential", subtract="before"),
    Coding(rows=128, converter=Converter(mode="step", bits=6, step=3), encoding="twos_complement", input_signed=True),
    Coding(rows=300, converter=Converter(mode="charge", bits=8), masking=Masking(granularity="plane", threshold=0.0)),
    Coding(rows=300, converter=Converter(mode="charge", bits=8), masking=Masking(granularity="row_group", threshold=0.0, parasitic=900)),
    Coding(rows=256, converter=Converter(mode="charge", bits=8)),
    Coding(rows=256, converter=Converter(mode="range", bits=6, low=20, high=90), cell_bits=2),
    Coding(rows=200, converter=Converter(mode="clip", bits=9), cell_bits=4, digit_bits=2),
    Coding(rows=128, input_bits=12, weight_bits=12, cell_bits=4, digit_bits=4, converter=Converter(mode="step", bits=12, step=8)),
    Coding(rows=128, converter=Converter(mode="clip", bits=6)),
    Coding(rows=128, converter=Converter(mode="step", bits=6, step=3)),
    Coding(rows=128, converter=Converter(mode="range", bits=6, low=16, high=96)),
    Coding(rows=128, converter=Converter(mode="charge", bits=6)),
    Coding(rows=120, converter=Converter(mode="step", bits=4, step=6), encoding="differential", subtract="before"),
    Coding(rows=333, encoding="xnor", converter=Converter(mode="charge", bits=7)),
]


@pytest.mark.parametrize("coding", WIDE, ids=lambda one: f"{one.encoding}-{one.converter.mode}-{one.rows}-{one.converter.bits}")
def test_wide_blocks_equal_the_reference(coding: Coding):
    """Blocks of several words, lanes near their limits, columns beside whole vectors."""
    half, bits = 1 << (coding.weight_bits - 1), coding.input_bits
    x, w = (
        RNG.integers(0, 1 << bits, (3, 340)).astype(np.uint16 if bits > 8 else np.uint8),
        RNG.integers(-half + 1, half, (340, 5)).astype(np.int16),
    )
    x[1] = (1 << bits) - 1
    x[2, RNG.random(340) < 0.7] = 0
    w[:, 0], w[:, 1] = half - 1, -half + 1
    if coding.input_signed:
        x = x.view(np.int8)
    if coding.encoding == "xnor":
        x, w = np.where(x > 127, 1, -1), np.where(w > 0, 1, -1)
    assert check(Case(x, w, coding), "numba") == "popcount"


@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_lossless_codings_collapse(engine: str):
    x, w = RNG.integers(0, 256, (5, 300)).astype(np.uint8), RNG.integers(-128, 128, (300, 7)).astype(np.int8)
    coding = Coding(rows=128, converter=Converter(mode="step", bits=8), masking=Masking(granularity="plane"))
    assert check(Case(x, w, coding), engine) == "collapsed"
    assert check(Case(x, w, replace(coding, converter=Converter(mode="step", bits=7))), engine) != "collapsed"
