"""Which engine computes, what it says of it, and what quick counts are worth."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from netwright.backends.cim.arch.model import ConverterMode
from netwright.backends.cim.coding.model import Coding, Converter, Disturbance, Masking
from netwright.backends.cim.engines import compiled, describe, prepare
from netwright.backends.cim.engines.collapse import Collapsed
from netwright.ir.errors import MissingExtraError

RNG = np.random.default_rng(5)


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch):
    found = importlib.util.find_spec

    def hidden(name: str, package: str | None = None):
        return None if name == "numba" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    compiled._kernels.cache_clear()  # pyright: ignore[reportPrivateUsage]
    yield
    compiled._kernels.cache_clear()  # pyright: ignore[reportPrivateUsage]


def test_without_numba_products_are_the_same_and_it_is_said(without_numba: None):
    x, w = RNG.integers(0, 256, (4, 40)).astype(np.uint8), RNG.integers(-128, 128, (40, 3)).astype(np.int8)
    coding = Coding(rows=16, converter=Converter(mode="clip", bits=3))
    outcome = prepare(w, coding).multiply(x)
    assert outcome.engine == "planes"
    assert describe().engine == "numpy"
    assert "numba is not installed" in describe().note
    assert "netwright[cim]" in describe().note
    with pytest.raises(MissingExtraError, match="numba is not installed"):
        prepare(w, coding, engine="numba")


def test_a_machine_without_avx512_is_told(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(compiled, "_features", dict)
    assert describe("numba").lanes == "machine code without AVX-512 popcount"
    assert "AVX-512" in describe("numba").note
    assert describe("numpy").note == ""


@pytest.mark.parametrize(
    "converter", [Converter(mode="step", bits=8), Converter(mode="step", bits=6, step=2), Converter(mode="charge", bits=5)]
)
def test_fast_counts_are_near_the_exact_ones(converter: Converter):
    x, w = RNG.integers(0, 256, (200, 150)).astype(np.uint8), RNG.integers(-128, 128, (150, 16)).astype(np.int8)
    x[RNG.random(x.shape) < np.linspace(0, 0.9, 200)[:, None]] = 0
    coding = Coding(rows=128, converter=converter, masking=Masking(granularity="plane"))
    fast, exact = (prepare(w, coding, counts=how).multiply(x) for how in ("fast", "exact"))
    assert fast.sampled == 8 / 200
    assert np.array_equal(fast.values, exact.values)
    for name in ("cycles", "conversions", "skipped", "rows_on", "enabled", "counts", "masks", "compensations", "conversion_bits"):
        assert getattr(fast.counts, name) == getattr(exact.counts, name)
    assert fast.counts.charge == pytest.approx(exact.counts.charge, rel=0.05)
    assert fast.counts.inexact == pytest.approx(exact.counts.inexact, rel=0.15)


@pytest.mark.parametrize("sign", [1, -1])
def test_collapsed_products_are_exact_at_their_bounds(sign: int):
    """The largest inputs and weights: sums beyond 2^24, which one float32 product would round."""
    x, w = np.full((2, 3000), 255, np.uint8), np.full((3000, 2), sign * 127, np.int8)
    x[1, ::2], w[::3, 1] = 254, -128
    values = Collapsed(w, 0, 255).multiply(x, np.dtype(np.int32))
    assert np.array_equal(values, x.astype(np.int64) @ w.astype(np.int64))
    assert np.abs(values).max() > 1 << 24


def test_wide_operands_collapse_exactly():
    x, w = RNG.integers(0, 1 << 16, (3, 500)), RNG.integers(-(1 << 15), 1 << 15, (500, 2))
    assert np.array_equal(Collapsed(w, 0, 65535).multiply(x, np.dtype(np.int64)), x @ w)


def test_noise_without_deviation_is_none():
    x, w = RNG.integers(0, 256, (4, 40)).astype(np.uint8), RNG.integers(-128, 128, (40, 3)).astype(np.int8)
    lossless = Coding(rows=16, converter=Converter(mode="clip", bits=5), noise=Disturbance())
    assert prepare(w, lossless).multiply(x).engine == "collapsed"
    lossy = Coding(rows=16, converter=Converter(mode="clip", bits=3), noise=Disturbance())
    plain = Coding(rows=16, converter=Converter(mode="clip", bits=3))
    assert np.array_equal(prepare(w, lossy).multiply(x).values, prepare(w, plain).multiply(x).values)


@pytest.mark.parametrize("noise", [Disturbance(conversion=2.0), Disturbance(cell=0.1), Disturbance(conversion=0.5, cell=0.05, seed=3)])
@pytest.mark.parametrize("mode", ["exact", "step", "range", "charge"])
def test_noise_is_drawn_by_machine_code_and_alike(noise: Disturbance, mode: ConverterMode):
    pytest.importorskip("numba")
    x, w = RNG.integers(0, 256, (150, 200)).astype(np.uint8), RNG.integers(-128, 128, (200, 9)).astype(np.int8)
    converter = Converter(mode=mode, bits=6, step=3, low=5, high=100)
    coding = Coding(rows=150, converter=converter, masking=Masking(granularity="plane", threshold=0.0), noise=noise)
    numbers = RNG.permutation(1000)[:150].astype(np.int64)
    fast, slow = (prepare(w, coding, engine=one, counts="exact").multiply(x, numbers=numbers) for one in ("numba", "numpy"))
    assert (fast.engine, slow.engine) == ("popcount", "planes")
    assert np.array_equal(fast.values, slow.values)
    assert (fast.counts.saturated, fast.counts.inexact) == (slow.counts.saturated, slow.counts.inexact)


def test_why_products_are_slow(without_numba: None):
    w = RNG.integers(-128, 128, (40, 3)).astype(np.int8)
    assert "numba is not installed" in prepare(w, Coding(rows=16, converter=Converter(mode="clip", bits=3))).why_slow


def test_why_wide_products_are_slow(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(compiled, "_features", lambda: {"avx512vpopcntdq": True, "avx512bitalg": True})
    w = RNG.integers(-128, 128, (40, 3)).astype(np.int8)
    lossy = Converter(mode="clip", bits=3)
    assert prepare(w, Coding(rows=16, converter=lossy)).why_slow == ""
    wide = prepare(w, Coding(rows=1 << 13, digit_bits=8, cell_bits=8, converter=lossy))
    assert "too many to tell apart" in wide.why_slow
    monkeypatch.setattr(compiled, "_features", dict)
    assert "AVX-512" in prepare(w, Coding(rows=16, converter=lossy)).why_slow
    assert prepare(w, Coding(rows=16, converter=Converter(mode="exact"))).why_slow == ""
