"""Multiplied out, a chain does what its stages do one after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures import STRUCTURES, product
from netwright.passes.factorize.structures.folded import Folding, chain

from .operators import SHAPES, operator
from .running import Steps, run_convolutions, run_operator, run_products

IMAGES = [
    (structure, name)
    for name, (kind, _, _) in SHAPES.items()
    for structure in STRUCTURES
    if kind in ("conv", "deconv") and STRUCTURES[structure].refusal(operator(name)) is None
]
PRODUCTS = [
    (structure, name)
    for name, (kind, _, _) in SHAPES.items()
    for structure in STRUCTURES
    if kind in ("linear", "recurrent", "table") and STRUCTURES[structure].refusal(operator(name)) is None
]


@pytest.mark.parametrize(("structure", "name"), IMAGES)
def test_convolutions_with_steps_split_among_stages(structure: str, name: str):
    whole = operator(name, "second")
    axes = len(whole.kernel)
    steps = Steps((2, 1)[:axes], (1, 0)[:axes], (1, 2)[:axes])
    decomposition = STRUCTURES[structure](whole)
    ranks = decomposition.ranks_for(2 * whole.weight.size)
    assert ranks is not None
    factors = decomposition.factors(ranks)
    channels = whole.weight.shape[0] if whole.kind == "deconv" else whole.weight.shape[1] * whole.groups
    data = np.random.default_rng(1).standard_normal((2, channels, *(9, 8)[:axes]))
    multiplied = replace(whole, weight=product(factors, whole))
    np.testing.assert_allclose(run_convolutions(factors, data, steps), run_operator(multiplied, data, steps), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("structure", "name"), PRODUCTS)
def test_products_on_rows(structure: str, name: str):
    whole = operator(name)
    decomposition = STRUCTURES[structure](whole)
    ranks = decomposition.ranks_for(int(0.8 * whole.weight.size)) or decomposition.full
    factors = decomposition.factors(ranks)
    data = np.random.default_rng(1).standard_normal((5, whole.weight.shape[1]))
    np.testing.assert_allclose(run_products(factors, data), data @ product(factors, whole).T, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ranks", [(1, 1), (1, 3), (5, 2), (8, 9)])
def test_three_cores(ranks: tuple[int, ...]):
    whole = Operator("linear", np.random.default_rng(0).standard_normal((24, 36)))
    folding = Folding(whole, (2, 3, 4), (4, 3, 3))
    assert folding.full == (8, 12)
    factors = chain("tt", ranks, folding.cores(ranks))
    data = np.random.default_rng(1).standard_normal((5, 36))
    np.testing.assert_allclose(run_products(factors, data), data @ product(factors, whole).T, rtol=1e-9, atol=1e-9)
    exact = chain("tt", folding.full, folding.cores(folding.full))
    np.testing.assert_allclose(product(exact, whole), whole.weight, rtol=1e-9, atol=1e-9)


def test_chains_that_fold_the_channels_anew_and_order_them_at_the_end():
    """Four channels as [2, 2], the last contracted to 3; then six as [3, 2] and turned; at the end as [2, 3] and turned back."""
    generator = np.random.default_rng(0)
    first = Stage(generator.standard_normal((3, 2)), dims=(2, 2), perm=(0, 1))
    second = Stage(generator.standard_normal((2, 2)), dims=(3, 2), perm=(0, 1))
    factors = Factors("hand-made", (), (first, second), dims=(3, 2), perm=(1, 0))
    whole = Operator("linear", np.zeros((6, 4)))
    data = generator.standard_normal((5, 4))
    np.testing.assert_allclose(run_products(factors, data), data @ product(factors, whole).T)


def test_grouped_state():
    whole = operator("state", "second")
    factors = STRUCTURES["low_rank"](whole).factors((3,))
    data = np.random.default_rng(1).standard_normal((5, 12))
    blocks = product(factors, whole).reshape(2, 12, 6)
    expected = np.concatenate([data[:, :6] @ blocks[0].T, data[:, 6:] @ blocks[1].T], axis=1)
    np.testing.assert_allclose(run_products(factors, data), expected, rtol=1e-9, atol=1e-9)


def test_two_kernels_along_one_axis_are_no_kernel_of_the_operator():
    whole = operator("conv_1d")
    stages = (Stage(np.ones((2, 5, 4)), spatial=(0,)), Stage(np.ones((6, 2, 4))))
    with pytest.raises(ValueError, match=r"\(4,\) and \(4,\) taps"):
        product(Factors("hand-made", (2,), stages), whole)
