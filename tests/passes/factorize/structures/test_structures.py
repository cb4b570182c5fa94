"""What single decompositions promise beyond what all of them do."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch

from netwright.ir.errors import MissingExtraError, PlanError
from netwright.passes.factorize.lowering.absorb import absorbed
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures import STRUCTURES, product, rescaled
from netwright.passes.factorize.structures.base import Ranks
from netwright.passes.factorize.structures.divisors import even_split
from netwright.passes.factorize.structures.expanded import Expanded

from .operators import operator


def test_low_rank_factors_are_nested_and_share_norms():
    whole = operator("tall", "second")
    decomposition = STRUCTURES["low_rank"](whole)
    small, large = decomposition.factors((3,)), decomposition.factors((7,))
    np.testing.assert_array_equal(small.stages[0].array, large.stages[0].array[:3])
    np.testing.assert_array_equal(small.stages[1].array, large.stages[1].array[:, :3])
    right, left = (stage.array for stage in large.stages)
    np.testing.assert_allclose(np.linalg.norm(right, axis=1), np.linalg.norm(left, axis=0))


def test_the_train_of_a_recurrent_layer_ends_in_one_matrix_for_all_outputs():
    """Which ONNX's layers take; its first cores come before the layer."""
    whole = operator("gates", "second")
    assert whole.kind == "recurrent"
    decomposition = STRUCTURES["tt"](whole)
    outputs, inputs = whole.weight.shape
    full = decomposition.factors(decomposition.full)
    np.testing.assert_allclose(product(full, whole), whole.weight, atol=1e-9)
    ranks = (3, 5)
    thin = decomposition.factors(ranks)
    assert absorbed(thin).stages[-1].array.shape == (outputs, 5)
    assert not absorbed(thin).stages[-1].dims
    assert decomposition.parameters(ranks) < STRUCTURES["low_rank"](whole).parameters((5,)) == 5 * (outputs + inputs)


def test_three_factors_may_have_two_sizes():
    whole = operator("large", "second")
    decomposition = STRUCTURES["low_rank3"](whole)
    factors = decomposition.factors((9, 5))
    assert [stage.array.shape for stage in factors.stages] == [(5, 36), (9, 5), (32, 9)]
    assert decomposition.error((9, 5)) == pytest.approx(whole.energy(whole.weight - product(factors, whole)))
    assert decomposition.error((9, 5)) == STRUCTURES["low_rank"](whole).error((5,))


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("wide", (15,)),
        ("wide", (12, 17)),
        ("tall", (30,)),
        ("tall", (14, 13)),
        ("conv", (9,)),
        ("conv", (9, 8)),
        ("conv_uneven", (4,)),
        ("conv_groups", (5,)),
        ("conv_groups", (6, 5)),
        ("gates", (11,)),
    ],
)
def test_expanded_products_are_the_weight_to_the_last_bit(name: str, ranks: Ranks):
    whole = operator(name)
    decomposition = Expanded(whole)
    factors = decomposition.factors(ranks)
    np.testing.assert_array_equal(product(factors, whole), whole.weight)
    shapes = decomposition.shapes(ranks)
    assert [stage.array.shape for stage in shapes.stages] == [stage.array.shape for stage in factors.stages]
    assert decomposition.parameters(ranks) == factors.parameters
    assert decomposition.error(ranks) == 0
    again = Expanded(whole).factors(ranks)
    for one, other in zip(factors.stages, again.stages, strict=True):
        np.testing.assert_array_equal(one.array, other.array)


@pytest.mark.parametrize(("name", "ranks"), [("wide", (16,)), ("tall", (16,)), ("wide", (16, 18)), ("tall", (16, 18))])
def test_every_zero_of_an_expanded_weight_gets_a_gradient_within_two_steps(name: str, ranks: Ranks):
    factors = Expanded(operator(name)).factors(ranks)
    weights = [torch.nn.Parameter(torch.from_numpy(stage.array.copy())) for stage in factors.stages]
    data = torch.from_numpy(np.random.default_rng(1).standard_normal((64, weights[0].shape[1])))
    gradients: tuple[torch.Tensor, ...] = ()
    for _ in range(2):
        flow = data
        for weight in weights:
            flow = flow @ weight.T
        gradients = torch.autograd.grad(flow.sin().sum(), weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= 0.01 * gradient
    assert gradients
    assert all(bool((gradient != 0).all()) for gradient in gradients)


def test_rescaled_factors_keep_the_norm_of_an_untrained_weight():
    for structure, name, ranks in [("low_rank", "large", (4,)), ("low_rank3", "large", (4, 4)), ("tucker2", "conv", (2, 3))]:
        whole = operator(name)
        factors = STRUCTURES[structure](whole).factors(ranks)
        found = rescaled(factors, whole)
        assert np.linalg.norm(product(factors, whole)) < 0.8 * np.linalg.norm(whole.weight)
        assert np.linalg.norm(product(found, whole)) == pytest.approx(np.linalg.norm(whole.weight))
        shares = {float(new.array.ravel()[0] / old.array.ravel()[0]) for new, old in zip(found.stages, factors.stages, strict=True)}
        assert max(shares) == pytest.approx(min(shares))
        assert found.parameters == factors.parameters
    nothing = replace(operator("large"), weight=np.zeros((32, 36)))
    factors = STRUCTURES["low_rank"](nothing).factors((4,))
    assert rescaled(factors, nothing) is factors


@pytest.mark.parametrize("structure", ["low_rank", "tucker2", "spatial", "cp"])
@pytest.mark.filterwarnings("error")
def test_a_weight_of_zeros_stays_one(structure: str):
    nothing = Operator("conv", np.zeros((6, 4, 3, 3)))
    decomposition = STRUCTURES[structure](nothing)
    ranks = decomposition.ranks_for(108)
    assert ranks is not None
    assert decomposition.error(ranks) == 0
    assert all(np.isfinite(stage.array).all() for stage in decomposition.factors(ranks).stages)


def test_cp_finds_a_kernel_that_is_one():
    """Five components, in a kernel of 8 × 7 × 3 × 3: found to a thousandth, and no component grows beyond the kernel."""
    generator = np.random.default_rng(3)
    parts = [generator.standard_normal((size, 5)) for size in (8, 7, 3, 3)]
    whole = Operator("conv", np.einsum("or,ir,ar,br->oiab", *parts))
    decomposition = STRUCTURES["cp"](whole)
    assert decomposition.error((5,)) < 1e-3 * whole.energy()
    largest = max(float(np.abs(stage.array).max()) for stage in decomposition.factors((5,)).stages)
    assert largest < float(np.linalg.norm(whole.weight))


def test_cp_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        assert name == "tensorly"

    monkeypatch.setattr(importlib.util, "find_spec", missing)
    with pytest.raises(MissingExtraError) as caught:
        STRUCTURES["cp"](operator("conv")).factors((3,))
    assert caught.value.remedy == 'Run pip install "netwright[factorize]".'


def test_kronecker_finds_a_product_that_is_one():
    generator = np.random.default_rng(0)
    weight = np.kron(generator.standard_normal((4, 9)), generator.standard_normal((8, 4)))
    whole = Operator("linear", weight)
    decomposition = STRUCTURES["kronecker"](whole)
    assert decomposition.ranks_for(4 * 9 + 8 * 4) == (1, 4, 9)
    assert decomposition.error((1, 4, 9)) < 1e-20 * whole.energy()


def test_sizes_without_useful_factors_are_refused():
    assert even_split(3072, 3) == (12, 16, 16)
    assert even_split(768, 2) == (24, 32)
    assert even_split(766, 2) is None  # 2 · 383
    prime = Operator("linear", np.ones((13, 12)))
    assert STRUCTURES["tt"].refusal(prime) == "size 13 has no two factors of similar size"
    assert STRUCTURES["kronecker"].refusal(prime) == "size 13 is prime"
    assert STRUCTURES["low_rank"].refusal(Operator("conv", np.ones((8, 1, 3, 3)), groups=8)) == "a matrix of 1 × 9 has no lower rank"
    assert STRUCTURES["spatial"].refusal(operator("conv_1d")) == "a kernel of 4 taps has no rows and columns to split"


@pytest.mark.parametrize(
    ("structure", "name", "ranks"),
    [
        ("low_rank", "wide", (13,)),
        ("low_rank", "wide", (0,)),
        ("low_rank", "wide", (3, 3)),
        ("tucker2", "conv", (8, 2)),
        ("tt", "large", (1000,)),
        ("kronecker", "large", (2, 5, 9)),
        ("kronecker", "large", (2,)),
        ("expanded", "wide", (11,)),
        ("expanded", "conv", (7, 4)),
        ("expanded", "wide", (20, 20, 20)),
    ],
)
def test_ranks_that_an_operator_does_not_have_are_refused(structure: str, name: str, ranks: Ranks):
    decomposition = STRUCTURES[structure](operator(name))
    with pytest.raises(PlanError) as caught:
        decomposition.factors(ranks)
    assert str(list(ranks)) in str(caught.value)
    assert caught.value.remedy
