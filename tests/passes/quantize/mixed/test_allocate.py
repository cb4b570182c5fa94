"""Integer programming of options."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from netwright.passes.quantize.mixed import Option, least_error


def made_up(units: int, seed: int) -> dict[str, list[Option]]:
    """Units of different sizes whose errors fall by four with each bit, some faster."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[Option]] = {}
    for unit in range(units):
        size, weight, slope = float(rng.integers(1, 50)), float(10 ** rng.uniform(-6, 0)), float(rng.uniform(2, 6))
        found[f"u{unit}"] = [Option(bits, bits * size, weight * slope**-bits) for bits in range(2, 9)]
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("average", [2.5, 4.0, 6.0])
def test_it_is_the_best_of_all(seed: int, average: float) -> None:
    options = made_up(4, seed)
    limit = average * sum(own[0].cost / 2 for own in options.values())
    found = least_error(options, limit)
    assert found is not None
    best = min(
        sum(one.error for one in chosen) for chosen in product(*options.values()) if sum(one.cost for one in chosen) <= limit * (1 + 1e-9)
    )
    assert sum(one.cost for one in found.values()) <= limit * (1 + 1e-6)
    assert sum(one.error for one in found.values()) <= best * (1 + 2e-4)


def test_a_limit_out_of_reach_is_told() -> None:
    options = made_up(3, 0)
    assert least_error(options, 1.9 * sum(own[0].cost / 2 for own in options.values())) is None


def test_with_enough_each_has_its_best() -> None:
    options = made_up(20, 1)
    found = least_error(options, 1e9)
    assert found is not None
    assert {one.bits for one in found.values()} == {8}


def test_more_bits_that_err_as_much_are_not_taken() -> None:
    assert least_error({"a": [Option(4, 4, 0.1), Option(8, 8, 0.1)]}, 100) == {"a": Option(4, 4, 0.1)}


def test_a_hundred_units_are_solved() -> None:
    options = made_up(100, 2)
    limit = 4.5 * sum(own[0].cost / 2 for own in options.values())
    found = least_error(options, limit)
    assert found is not None
    uniform = sum(own[2].error for own in options.values())
    assert sum(one.error for one in found.values()) < 0.5 * uniform
    assert sum(one.cost for one in found.values()) > 0.99 * limit
