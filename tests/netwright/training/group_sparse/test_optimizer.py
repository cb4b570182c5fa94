"""The steps themselves: bases against torch's, half-space projections and shrinking against their definitions, states that resume."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from netwright.training.errors import TrainingError
from netwright.training.group_sparse import (
    DHSPG,
    HESSO,
    HSPG,
    DhspgSettings,
    GroupLassoSettings,
    GroupSparseSettings,
    HessoSettings,
    HspgSettings,
    ProximalGroupLasso,
    group_sparse_optimizer,
    index_units,
)
from netwright.training.group_sparse.settings import Base
from netwright.training.group_sparse.units import Units
from tests.netwright.training.group_sparse.test_units import group, held

UNITS, WIDTH = 12, 6


class Problem:
    """Rows of `w` with their numbers in `b` are units; `free` belongs to none. Only the first third of the units is of use."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.w = torch.nn.Parameter(torch.randn(UNITS, WIDTH, generator=generator))
        self.b = torch.nn.Parameter(torch.randn(UNITS, generator=generator))
        self.free = torch.nn.Parameter(torch.randn(3, generator=generator))
        self.target = torch.randn(UNITS, WIDTH, generator=generator) * (torch.arange(UNITS) < UNITS // 3)[:, None]
        self.noise = torch.Generator().manual_seed(seed + 1)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        return [self.w, self.b, self.free]

    def units(self, grain: int = 1) -> Units:
        numbers = list(range(UNITS))
        found = group("g", UNITS, (held("w", 0, numbers), held("b", 0, numbers, "shift")))
        return index_units([(found, grain)], {"w": self.w, "b": self.b})

    def backward(self) -> float:
        for parameter in self.parameters:
            parameter.grad = None
        noisy = self.target + 0.1 * torch.randn(self.target.shape, generator=self.noise)
        loss = (self.w - noisy).square().sum() + (self.b - self.target[:, 0]).square().sum() + (self.free - 1).square().sum()
        loss.backward()
        return float(loss.detach())

    def train(self, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            self.backward()
            optimizer.step()


KINDS: dict[str, type[GroupSparseSettings]] = {one.name: one for one in (HspgSettings, DhspgSettings, HessoSettings, GroupLassoSettings)}


def made(
    kind: str, base: Base = "momentum", *, grain: int = 1, steps: int = 60
) -> tuple[Problem, HSPG | DHSPG | HESSO | ProximalGroupLasso]:
    problem = Problem()
    settings = KINDS[kind](sparsity=0.5, base=base)
    return problem, group_sparse_optimizer(problem.parameters, problem.units(grain), settings, lr=0.02, steps=steps)


def plain_sgd(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.02)


def momentum_sgd(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.02, momentum=0.9)


def adamw(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.0)


@pytest.mark.parametrize(("base", "theirs"), [("sgd", plain_sgd), ("momentum", momentum_sgd), ("adamw", adamw)])
def test_before_pruning_begins_the_steps_are_torchs_own(
    base: Base, theirs: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
) -> None:
    ours, optimizer = made("dhspg", base, steps=1000)
    other = Problem()
    reference = theirs(other.parameters)
    assert optimizer.begin == 100
    ours.train(optimizer, 30)
    other.train(reference, 30)
    for mine, yours in zip(ours.parameters, other.parameters, strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-5, atol=1e-6)


def test_weight_decay_is_apart_from_the_gradient() -> None:
    ours, other = Problem(), Problem()
    optimizer = DHSPG(ours.parameters, ours.units(), DhspgSettings(sparsity=0.5, begin=0.4), lr=0.02, steps=100, weight_decay=0.1)
    reference = torch.optim.AdamW(other.parameters, lr=0.02, weight_decay=0.1)
    ours.train(optimizer, 20)
    other.train(reference, 20)
    for mine, yours in zip(ours.parameters, other.parameters, strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("base", ["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_share_is_reached_exactly_and_zeros_stay(kind: str, base: Base) -> None:
    problem, optimizer = made(kind, base)
    problem.train(optimizer, optimizer.end)
    assert optimizer.settled
    gone = list(optimizer.zero_units["g"])
    assert len(gone) == UNITS // 2
    problem.train(optimizer, 60 - optimizer.end)
    kept = [unit for unit in range(UNITS) if unit not in gone]
    assert not problem.w[gone].any()
    assert not problem.b[gone].any()
    assert not torch.signbit(problem.w[gone]).any()
    assert problem.w[kept].any(1).all()
    assert (problem.free - 1).abs().max() < (Problem().free - 1).abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_of_use_stays(kind: str) -> None:
    problem, optimizer = made(kind, steps=200)
    problem.train(optimizer, 200)
    assert min(optimizer.zero_units["g"]) >= UNITS // 3


@pytest.mark.parametrize("kind", KINDS)
def test_kept_counts_are_round_at_every_share(kind: str) -> None:
    problem, optimizer = made(kind, grain=4)
    problem.train(optimizer, 60)
    assert len(optimizer.zero_units["g"]) == 4  # 12 units keep 12, 8 or 4; half of them would be 6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [3, 20, 41, 55])
def test_a_run_goes_on_from_its_state_bit_for_bit(kind: str, stop: int) -> None:
    whole, one = made(kind, "adamw")
    whole.train(one, 60)
    first, before = made(kind, "adamw")
    first.train(before, stop)
    second, after = made(kind, "adamw")
    with torch.no_grad():
        for new, old in zip(second.parameters, first.parameters, strict=True):
            new.copy_(old)
    second.noise.set_state(first.noise.get_state())
    after.load_state_dict(before.state_dict())
    second.train(after, 60 - stop)
    for new, old in zip(second.parameters, whole.parameters, strict=True):
        assert torch.equal(new, old)
    assert after.zero_units == one.zero_units


def test_a_unit_that_turns_back_on_itself_is_zero_after_the_step() -> None:
    """The test on norms and products is the half-space test on x' itself."""
    for epsilon, penalty, lr in ((0.0, 7.0, 0.1), (0.5, 3.0, 0.1), (0.95, 3.0, 0.01)):
        problem = Problem()
        settings = HspgSettings(penalty=penalty, base="sgd", begin=0.0, settle=0.0, half_space=epsilon)
        optimizer = HSPG(problem.parameters, problem.units(), settings, lr=lr, steps=2)
        problem.backward()
        before = torch.cat([problem.w, problem.b[:, None]], 1).detach().double()
        assert problem.w.grad is not None
        assert problem.b.grad is not None
        gradient = torch.cat([problem.w.grad, problem.b.grad[:, None]], 1).double()
        norms = before.square().sum(1, keepdim=True).sqrt()
        after = before - lr * (gradient + penalty * norms.mean() * before / norms)
        expected = (after * before).sum(1) < epsilon * before.square().sum(1)
        optimizer.step()
        found = torch.zeros(UNITS, dtype=torch.bool)
        found[list(optimizer.zero_units["g"])] = True
        assert 0 < int(expected.sum()) < UNITS
        assert torch.equal(found, expected)


def test_hesso_shrinks_a_chosen_unit_by_equal_parts() -> None:
    problem = Problem()
    settings = HessoSettings(sparsity=0.5, base="sgd", begin=0.0, settle=0.5, periods=1)
    optimizer = HESSO(problem.parameters, problem.units(), settings, lr=1e-12, steps=20)
    first = problem.w.detach().clone()
    norms: list[torch.Tensor] = []
    for _ in range(10):
        problem.train(optimizer, 1)
        norms.append((problem.w.detach() / first).mean(1))
    gone = list(optimizer.zero_units["g"])
    assert len(gone) == 6
    shares = torch.stack(norms)
    np.testing.assert_allclose(shares[:, gone].numpy(), np.linspace(0.9, 0.0, 10)[:, None].repeat(6, 1), atol=1e-5)
    kept = [unit for unit in range(UNITS) if unit not in gone]
    np.testing.assert_allclose(shares[:, kept].numpy(), 1.0, atol=1e-5)


def test_hesso_chooses_period_by_period() -> None:
    problem = Problem()
    optimizer = HESSO(problem.parameters, problem.units(), HessoSettings(sparsity=0.5, begin=0.0, settle=0.0, periods=3), lr=0.01, steps=31)
    counts: list[int] = []
    for _ in range(31):
        problem.train(optimizer, 1)
        counts.append(len(optimizer.zero_units["g"]))
    assert counts == [0] * 9 + [2] * 10 + [4] * 11 + [6]


def test_the_group_lasso_takes_the_same_from_every_norm() -> None:
    problem = Problem()
    optimizer = ProximalGroupLasso(
        problem.parameters, problem.units(), GroupLassoSettings(penalty=2.0, base="sgd", begin=0.0, settle=0.0), lr=1e-9, steps=5
    )
    problem.backward()
    before = problem.units().sums(torch.square).detach().sqrt()
    optimizer.param_groups[0]["lr"] = 0.1
    for parameter in problem.parameters:
        assert parameter.grad is not None
        parameter.grad.zero_()
    optimizer.step()
    after = problem.units().sums(torch.square).detach().sqrt()
    np.testing.assert_allclose((before - after).numpy(), float(0.1 * 2.0 * before.mean()), rtol=1e-4)


def test_a_penalty_alone_prunes_as_many_as_it_prunes() -> None:
    counts: list[int] = []
    for penalty in (1e-4, 1.0, 4.0):
        problem = Problem()
        settings = HspgSettings(penalty=penalty, base="sgd", begin=0.0, settle=0.2)
        optimizer = HSPG(problem.parameters, problem.units(), settings, lr=0.02, steps=100)
        problem.train(optimizer, 100)
        counts.append(len(optimizer.zero_units["g"]))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    assert counts[-1] < UNITS


def test_a_parameter_without_a_gradient_is_left_alone_unless_its_unit_goes() -> None:
    problem, optimizer = made("dhspg")
    for _ in range(60):
        problem.backward()
        problem.b.grad = None
        optimizer.step()
    gone = list(optimizer.zero_units["g"])
    assert not problem.b[gone].any()
    kept = [unit for unit in range(UNITS) if unit not in gone]
    torch.testing.assert_close(problem.b[kept], Problem().b[kept])


def test_more_units_than_can_go_are_refused_with_the_largest_share() -> None:
    problem = Problem()
    with pytest.raises(TrainingError, match=r"Of 12 units 8 can go, and 10 are to\. .*up to 0\.67"):
        DHSPG(problem.parameters, problem.units(4), DhspgSettings(sparsity=0.9), lr=0.1, steps=10)


def test_a_state_of_something_else_is_refused() -> None:
    _, optimizer = made("dhspg")
    plain = torch.optim.SGD(Problem().parameters, lr=0.1)
    with pytest.raises(TrainingError, match="no state of an optimizer over these units"):
        optimizer.load_state_dict(plain.state_dict())


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        (DhspgSettings, {"sparsity": 1.5}, r"sparsity is 1\.5.*above 0 and below 1"),
        (HspgSettings, {"base": "lamb"}, r"base is 'lamb'.*adamw, momentum, sgd"),
        (HessoSettings, {"periods": 0}, r"periods is 0"),
        (HspgSettings, {"half_space": 1.0}, r"half_space is 1\.0"),
        (GroupLassoSettings, {"begin": 0.6, "settle": 0.5}, r"begin \+ settle is 1\.1"),
        (GroupLassoSettings, {"penalty": 0.0}, r"penalty is 0\.0.*above 0"),
        (DhspgSettings, {"round_to": 0}, r"round_to is 0"),
        (DhspgSettings, {"scope": "layers"}, r"scope is 'layers'"),
    ],
)
def test_options_out_of_range_are_refused(settings: type[GroupSparseSettings], options: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        settings(**options)  # pyright: ignore[reportArgumentType]
