"""Which units go when so many are to go: round counts, never too many, never all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.training.group_sparse.blocks import choose, choose_evenly, most
from netwright.training.group_sparse.units import UnitRange
from tests.netwright.training.group_sparse.test_units import group


def ranges(*sizes: tuple[int, int, int]) -> list[UnitRange]:
    """Groups as (size, grain, how many cannot go)."""
    found: list[UnitRange] = []
    first = 0
    for number, (size, grain, stuck) in enumerate(sizes):
        removable = np.arange(size) >= stuck
        found.append(UnitRange(group(str(number), size, (), removable), grain, first, np.flatnonzero(removable)))
        first += size - stuck
    return found


def test_the_lowest_of_all_groups_go() -> None:
    found = ranges((3, 1, 0), (4, 1, 0))
    scores = np.array([0.5, 9.0, 0.1, 0.2, 7.0, 0.3, 8.0])
    np.testing.assert_array_equal(np.flatnonzero(choose(found, scores, 4, np.zeros(7, bool))), [0, 2, 3, 5])


def test_one_of_each_group_stays_however_many_are_to_go() -> None:
    found = ranges((3, 1, 0), (4, 1, 0))
    chosen = choose(found, np.arange(7.0), 100, np.zeros(7, bool))
    assert most(found) == 5
    np.testing.assert_array_equal(np.flatnonzero(~chosen), [2, 6])


def test_kept_counts_are_round_and_the_first_step_makes_them_so() -> None:
    found = ranges((20, 8, 0))
    for count, kept in ((3, 20), (4, 16), (11, 16), (12, 8), (20, 8)):
        assert 20 - choose(found, np.arange(20.0), count, np.zeros(20, bool)).sum() == kept


def test_units_that_have_gone_stay_gone_and_their_step_is_made_whole() -> None:
    found = ranges((16, 8, 0), (16, 8, 0))
    gone = np.zeros(32, bool)
    gone[[15, 14]] = True
    chosen = choose(found, np.arange(32.0), 8, gone)
    np.testing.assert_array_equal(np.flatnonzero(chosen), [0, 1, 2, 3, 4, 5, 14, 15])
    np.testing.assert_array_equal(choose(found, np.arange(32.0), 0, gone), chosen)
    np.testing.assert_array_equal(choose(found, np.arange(32.0), 7, gone, whole=False), gone)
    np.testing.assert_array_equal(choose(found, np.arange(32.0), 8, gone, whole=False), chosen)


def test_units_that_cannot_go_count_among_the_kept() -> None:
    found = ranges((16, 8, 5))
    assert most(found) == 8
    assert choose(found, np.arange(11.0), 11, np.zeros(11, bool)).sum() == 8
    assert most(ranges((16, 8, 10))) == 0


def test_evenly_each_group_loses_the_same_share() -> None:
    found = ranges((16, 1, 0), (32, 4, 0))
    scores = np.concatenate([np.arange(16.0), 100 + np.arange(32.0)])
    gone = choose_evenly(found, scores, 24, np.zeros(48, bool))
    np.testing.assert_array_equal(np.flatnonzero(gone), [*range(8), *range(16, 32)])


def test_of_each_part_that_fills_an_axis_one_unit_stays() -> None:
    numbers = np.arange(10)
    one = UnitRange(group("g", 10, (), parts=(numbers[:4], numbers[4:])), 1, 0, numbers)
    assert most([one]) == 8
    chosen = choose([one], np.array([3.0, 0, 1, 2, 9, 8, 7, 6, 5, 4]), 8, np.zeros(10, bool))
    np.testing.assert_array_equal(np.flatnonzero(~chosen), [0, 4])
    within = np.array([0.0, 1, 2, 3, 9, 8, 7, 6, 5, 4])
    np.testing.assert_array_equal(np.flatnonzero(~choose([one], within, 6, np.zeros(10, bool))), [3, 4, 5, 6])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from([1, 2, 8])), min_size=1, max_size=4),
    st.integers(0, 100),
    st.integers(0, 10**6),
)
def test_whatever_the_groups(sizes: list[tuple[int, int]], count: int, seed: int) -> None:
    found = ranges(*((size, grain, 0) for size, grain in sizes))
    scores = np.random.default_rng(seed).normal(size=sum(size for size, _ in sizes))
    chosen = choose(found, scores, count, np.zeros(len(scores), bool))
    assert chosen.sum() <= min(count, most(found))
    largest = max(grain for _, grain in sizes)
    assert chosen.sum() > min(count, most(found)) - largest
    for one in found:
        kept = ~chosen[one.all]
        assert kept.any()
        assert kept.all() or kept.sum() % one.grain == 0
        if not kept.all():
            assert scores[one.all][~kept].max() <= scores[one.all][kept].min()
    again = choose(found, scores, count, chosen)
    np.testing.assert_array_equal(again, chosen)


@pytest.mark.parametrize("grain", [1, 4])
def test_a_larger_count_takes_no_other_units(grain: int) -> None:
    found = ranges((24, grain, 0), (12, grain, 0))
    scores = np.random.default_rng(5).normal(size=36)
    before = np.zeros(36, bool)
    for count in range(0, 36, 5):
        chosen = choose(found, scores, count, np.zeros(36, bool))
        assert (chosen | ~before).all()
        before = chosen
