"""Patches and bytes of sums against their plain definitions, with numba and without; counts shared out add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.backends.cim.engines.base import MvmCounts
from netwright.backends.cim.ops import Im2Col
from netwright.backends.cim.simulator import kernels
from netwright.backends.cim.simulator.compiled import requantizing
from netwright.backends.cim.simulator.ledger import shared_out

UINT8, INT8 = np.dtype(np.uint8), np.dtype(np.int8)


@pytest.mark.parametrize("way", ["compiled", "numpy"])
@pytest.mark.parametrize("dtype", [UINT8, INT8])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2, 5, 33), (40, 64)])
def test_bytes_of_sums_are_the_specification(way: str, dtype: np.dtype, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    if way == "compiled" and requantizing() is None:
        pytest.skip("numba is not installed")
    monkeypatch.setattr(kernels, "requantizing", requantizing if way == "compiled" else lambda: None)
    rng = np.random.default_rng(5)
    acc = rng.integers(-(2**20), 2**20, shape).astype(np.int32)
    acc.flat[0] = 2**31 - 1  # the bias wraps it around
    bias, multiplier = rng.integers(1, 999, shape[-1]).astype(np.int32), (rng.random(shape[-1]) * 4e-4).astype(np.float32)
    multiplier[0] = 0.5  # halves
    limits = np.iinfo(dtype)
    with np.errstate(over="ignore"):
        scaled = np.rint((acc + bias).astype(np.float32) * multiplier) + np.float32(3)
    wanted = np.clip(scaled, limits.min + 5, limits.max - 1).astype(dtype)

    found = kernels.requantize(acc, bias, multiplier, 3, limits.min + 5, limits.max - 1, dtype)

    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == dtype


@given(
    st.tuples(st.integers(1, 2), st.integers(3, 7), st.integers(3, 7), st.integers(1, 3)),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(1, 2)] * 2),
    st.tuples(*[st.integers(0, 2)] * 4),
)
@settings(max_examples=60, deadline=None)
def test_patches_are_windows(
    shape: tuple[int, int, int, int], kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, int, int, int]
):
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    top, left, bottom, right = pads
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=9)
    found = kernels.patches(x, Im2Col(kernel=kernel, strides=strides, dilations=(1, 1), pads=pads, pad_value=9))

    for down in range(found.shape[1]):
        for across in range(found.shape[2]):
            rows, columns = down * strides[0], across * strides[1]
            part = padded[:, rows : rows + kernel[0], columns : columns + kernel[1]]
            np.testing.assert_array_equal(found[:, down, across], part.reshape(shape[0], -1))
    assert found.shape[1] == (padded.shape[1] - kernel[0]) // strides[0] + 1


@given(st.lists(st.integers(1, 2**28), min_size=1, max_size=6), st.lists(st.integers(0, 2**55), min_size=16, max_size=16))
@settings(max_examples=100, deadline=None)
def test_what_is_shared_out_adds_up(parts: list[int], figures: list[int]):
    counts = tuple(float(one) if name == "charge" else one for name, one in zip(MvmCounts.__slots__, figures, strict=True))
    total = sum(parts)
    found = [MvmCounts(*row) for row in shared_out(counts, parts, total)]  # pyright: ignore[reportArgumentType]

    for name, one in zip(MvmCounts.__slots__, counts, strict=True):
        shares = [getattr(share, name) for share in found]
        assert sum(shares) == (pytest.approx(one) if name == "charge" else one)
        assert all(share == pytest.approx(one * part / total, abs=1, rel=1e-9) for share, part in zip(shares, parts, strict=True))
