"""Arrays to integers."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.passes.quantize.integers import by_columns, by_rows, in_blocks, packed
from tests.passes.quantize.helpers import normal


def test_rows_keep_within_half_a_step() -> None:
    weight = normal(40, 64)
    found = by_rows(weight)
    assert found.values.dtype == np.int8
    assert found.scale == pytest.approx(np.abs(weight).max(axis=1) / 127)
    assert (np.abs(found.values * found.scale[:, None] - weight) <= found.scale[:, None] / 2 + 1e-7).all()


def test_columns_are_the_rows_of_the_transpose() -> None:
    weight = normal(64, 40)
    by_column, by_row = by_columns(weight), by_rows(weight.T)
    assert np.array_equal(by_column.values, by_row.values.T)
    assert np.array_equal(by_column.scale, by_row.scale)


def test_large_weights_are_worked_on_in_slices_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = normal(64, 40)
    whole = [by_rows(weight), by_columns(weight), by_columns(weight, per_channel=False)]
    blocks = in_blocks(weight, bits=4, block_size=16, symmetric=False)
    monkeypatch.setattr("netwright.passes.quantize.integers.SLICE_ELEMENTS", 100)
    for before, after in zip(whole, [by_rows(weight), by_columns(weight), by_columns(weight, per_channel=False)], strict=True):
        assert np.array_equal(before.values, after.values)
        assert np.array_equal(before.scale, after.scale)
    assert np.array_equal(blocks.values, in_blocks(weight, bits=4, block_size=16, symmetric=False).values)


def test_a_peaked_row_is_clipped_where_that_loses_less() -> None:
    weight = normal(2, 4096)
    weight[1] *= 0.02
    weight[1, 7] = 0.5
    found = by_rows(weight)
    plain = np.abs(weight).max(axis=1) / 127
    error = ((found.values * found.scale[:, None] - weight) ** 2).sum(axis=1)
    plain_error = ((np.rint(weight / plain[:, None]) * plain[:, None] - weight) ** 2).sum(axis=1)
    assert found.scale[0] == pytest.approx(plain[0])
    assert error[1] <= plain_error[1]


def test_a_row_of_zeros_has_a_scale_that_divides() -> None:
    found = by_rows(np.zeros((3, 8), np.float32))
    assert np.array_equal(found.scale, np.ones(3, np.float32))
    assert not found.values.any()


def test_seven_bits_stay_within_64() -> None:
    assert np.abs(by_rows(normal(8, 64), bits=7).values.astype(int)).max() == 63


def test_factors_multiply_input_channels() -> None:
    weight, factors = normal(8, 16), np.ones(16, np.float32)
    factors[3] = 8
    assert np.array_equal(by_rows(weight, factors=factors).values, by_rows(weight * factors).values)
    assert np.array_equal(by_columns(weight.T, factors=factors).values, by_columns(weight.T * factors[:, None]).values)


def unpacked(values: np.ndarray) -> np.ndarray:
    return np.stack([values & 15, values >> 4], axis=-1).reshape(*values.shape[:-1], -1)


def reconstructed(weight: np.ndarray, bits: int, block_size: int, symmetric: bool) -> np.ndarray:
    blocks = in_blocks(weight, bits=bits, block_size=block_size, symmetric=symmetric)
    values = unpacked(blocks.values) if bits == 4 else blocks.values
    count = blocks.scale.shape[1]
    if blocks.zero_point is None:
        zero = np.full(blocks.scale.shape, 1 << (bits - 1))
    else:
        zero = (unpacked(blocks.zero_point) if bits == 4 else blocks.zero_point)[:, :count]
    flat = (values.astype(np.float32) - zero[..., None]) * blocks.scale[..., None]
    return flat.reshape(weight.shape[0], -1)[:, : weight.shape[1]]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_blocks_reconstruct_the_weight(bits: int, symmetric: bool) -> None:
    weight = normal(12, 80)
    error = np.linalg.norm(reconstructed(weight, bits, 32, symmetric) - weight) / np.linalg.norm(weight)
    assert error < (0.11 if bits == 4 else 0.007)


def test_zero_points_lower_the_error_at_four_bits() -> None:
    weight = normal(64, 128)
    with_zero, without = (np.linalg.norm(reconstructed(weight, 4, 32, symmetric) - weight) for symmetric in (False, True))
    assert with_zero < 0.95 * without


def test_searched_clips_lower_the_error_at_four_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(0).laplace(size=(64, 128)).astype(np.float32)
    searched = np.linalg.norm(reconstructed(weight, 4, 64, False) - weight)
    monkeypatch.setattr("netwright.passes.quantize.integers.SHRINKS_4", ())
    assert searched < 0.98 * np.linalg.norm(reconstructed(weight, 4, 64, False) - weight)


def test_nibbles_pack_the_first_into_the_low_half() -> None:
    assert packed(np.array([[1, 2, 3]], np.uint8)).tolist() == [[0x21, 0x03]]
