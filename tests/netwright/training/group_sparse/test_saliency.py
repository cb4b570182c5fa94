"""The sign of the cosine and the bounds of the penalty, against differences of the function itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from netwright.training.group_sparse import DHSPG, DhspgSettings, index_units
from netwright.training.group_sparse.saliency import Measured, importance, redundancy
from tests.netwright.training.group_sparse.test_units import group, held


def smooth(x: torch.Tensor, seed: int) -> torch.Tensor:
    """Some smooth function that is neither convex nor even."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(6, x.numel(), generator=generator, dtype=torch.float64)
    b = torch.randn(6, generator=generator, dtype=torch.float64)
    return (torch.tanh(a @ x.flatten() + b) * b).sum() + 0.1 * (x.flatten() - 1).square().sum()


def measured(x: torch.Tensor, g: torch.Tensor) -> Measured:
    """Each row is a unit."""
    sizes = torch.full((len(x),), x.shape[1], dtype=torch.float64)
    return Measured(sizes, x.square().sum(1), (x * g).sum(1), g.square().sum(1))


def norms_of(x: torch.Tensor) -> torch.Tensor:
    return x.square().sum(1).sqrt()


@pytest.mark.parametrize("seed", range(20))
def test_taking_a_little_of_a_unit_away_lowers_the_loss_if_and_only_if_its_cosine_is_positive(seed: int) -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(100 + seed), dtype=torch.float64).requires_grad_()
    value = smooth(x, seed)
    (g,) = torch.autograd.grad(value, x)
    cosines = measured(x.detach(), g).cosines
    for unit in range(5):
        less = x.detach().clone()
        less[unit] *= 1 - 1e-6
        assert bool(smooth(less, seed) < value) == (float(cosines[unit]) > 0)


def test_of_equal_units_the_one_that_the_loss_wants_smaller_goes_first_in_both_scores() -> None:
    x = torch.ones(3, 4, dtype=torch.float64)
    g = torch.tensor([[-1.0], [1.0], [0.0]], dtype=torch.float64).expand(3, 4)  # pulled up, pushed down, neither
    found = measured(x, g)
    assert redundancy(found).argsort(descending=True).tolist() == [1, 2, 0]
    small = measured(x, g * 1e-3)  # near a minimum, where orders of the change say little
    assert importance(small)[1] < importance(small)[0]


def test_of_units_with_equal_cosines_the_smaller_goes_first() -> None:
    x = torch.tensor([[1.0], [0.1], [3.0]], dtype=torch.float64).expand(3, 4)
    found = measured(x, torch.zeros(3, 4, dtype=torch.float64))
    assert redundancy(found).argmax() == 1
    assert importance(found).argmin() == 1


def test_a_least_squares_model_loses_the_feature_that_only_does_harm() -> None:
    """The target is x₀ + x₁. The weight of x₂ makes f larger: it goes before a smaller one that is of use."""
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(500, 3, 2)))
    target = features[:, :2].sum((1, 2))
    w = torch.tensor([[1.0, 1.0], [0.8, 0.8], [0.9, 0.9]], dtype=torch.float64, requires_grad=True)
    ((features * w).sum((1, 2)) - target).square().mean().backward()
    assert w.grad is not None
    found = measured(w.detach(), w.grad)
    assert redundancy(found).argmax() == 2


def optimizer(x: torch.Tensor, **options: float) -> DHSPG:
    parameter = torch.nn.Parameter(x)
    units = index_units([(group("g", len(x), (held("w", 0, list(range(len(x)))),)), 1)], {"w": parameter})
    settings = DhspgSettings(sparsity=0.5, base="sgd", begin=0.0, settle=0.0, **options)  # pyright: ignore[reportArgumentType]
    return DHSPG([parameter], units, settings, lr=1e-3, steps=10**6)


@pytest.mark.parametrize("seed", range(10))
def test_between_the_bounds_the_loss_and_the_norm_fall_together(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(64, 5, generator=generator, dtype=torch.float64)
    d = torch.randn(64, 5, generator=generator, dtype=torch.float64)
    norms, along, size = norms_of(x), (x * d).sum(1), d.square().sum(1)
    penalty = optimizer(x, penalty=1e-9, ceiling=1e12).penalties(norms, along, size)
    unit = x / norms[:, None]
    step = 1e-7
    after = x - step * (d + penalty[:, None] * unit)
    assert (norms_of(after) < norms).all()
    assert ((d * (after - x)).sum(1) < 0).all()
    outward = along < 0
    assert outward.any()
    low, high = -along[outward] / norms[outward], -size[outward] * norms[outward] / along[outward]
    assert (penalty[outward] > low).all()
    assert (penalty[outward] < high).all()
    for factor, falls in ((0.99, False), (1.01, True)):  # lo is where the norm begins to fall
        moved = x[outward] - step * (d[outward] + factor * low[:, None] * unit[outward])
        assert ((norms_of(moved) < norms[outward]) == falls).all()


def test_the_penalty_keeps_to_its_floor_and_its_ceiling() -> None:
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    d = torch.tensor([[0.5, 0.0], [-0.5, 9.0]], dtype=torch.float64)
    found = optimizer(x, penalty=1e-2, amplify=20.0, ceiling=10.0).penalties(norms_of(x), (x * d).sum(1), d.square().sum(1))
    np.testing.assert_allclose(found.numpy(), [1e-2, 1e-1])  # 20 · 0.5 is above the ceiling of 10 · 0.01


def test_with_few_steps_left_the_floor_is_what_arrives() -> None:
    x = torch.tensor([[2.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    one = optimizer(x, penalty=1e-2)
    one.end = 10
    found = one.penalties(norms_of(x), torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), [200.0, 100.0])  # ‖x‖ / (10 steps of 1e-3)
