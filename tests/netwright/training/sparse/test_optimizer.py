"""The sparse optimizer on torch's tensors: the same numbers as on plain arrays, and a good citizen among optimizers."""

from __future__ import annotations

import copy
import itertools
import json

import numpy as np
import pytest
import torch

from netwright.training import TrainingError
from netwright.training.sparse import SparseDescent, SparseOptimizer, SparseSettings
from netwright.training.sparse.settings import Base, Method
from netwright.training.trees import put_together, take_apart
from tests.netwright.training.sparse.problems import COLUMNS, least_squares

STEPS = 80
METHODS: tuple[Method, ...] = ("cumulative", "proximal", "hard")
BASES: tuple[Base, ...] = ("sgd", "momentum", "adamw")
PRESET = {"penalty": 0.3}, {"sparsity": 0.8}


@pytest.mark.parametrize("preset", PRESET, ids=["penalty", "sparsity"])
@pytest.mark.parametrize(("method", "base"), list(itertools.product(METHODS, BASES)))
def test_both_forms_give_the_same_numbers_step_for_step(method: Method, base: Base, preset: dict[str, float]) -> None:
    settings = SparseSettings(method=method, base=base, **preset)  # pyright: ignore[reportArgumentType]
    problem = least_squares(dtype="float32")
    w = np.random.default_rng(1).normal(size=COLUMNS).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(w.copy()))
    descent = SparseDescent(settings, lr=0.01, steps=STEPS, weight_decay=0.1)
    optimizer = SparseOptimizer([parameter], settings, lr=0.01, steps=STEPS, weight_decay=0.1)
    for step in range(STEPS):
        gradient = problem.gradient(w)
        parameter.grad = torch.from_numpy(gradient)
        w = descent.step(w, gradient)
        optimizer.step()
        assert parameter.detach().numpy().tobytes() == w.tobytes(), f"step {step}"
    assert optimizer.settled
    assert descent.settled
    assert (w == 0).any()


def test_without_a_penalty_to_speak_of_it_is_the_base() -> None:
    problem = least_squares(dtype="float32")
    start = torch.randn(COLUMNS, generator=torch.Generator().manual_seed(0))
    bases: dict[Base, torch.optim.Optimizer] = {
        "adamw": torch.optim.AdamW([start.clone()], lr=0.01, weight_decay=0.1),
        "momentum": torch.optim.SGD([start.clone()], lr=0.01, momentum=0.9),
        "sgd": torch.optim.SGD([start.clone()], lr=0.01),
    }
    for base, theirs in bases.items():
        decay = 0.1 if base == "adamw" else 0.0
        ours = SparseOptimizer([start.clone()], SparseSettings(penalty=1e-30, base=base), lr=0.01, weight_decay=decay)
        for optimizer in (ours, theirs):
            (parameter,) = optimizer.param_groups[0]["params"]
            for _ in range(50):
                parameter.grad = torch.from_numpy(problem.gradient(parameter.numpy()))
                optimizer.step()
        torch.testing.assert_close(ours.param_groups[0]["params"][0], theirs.param_groups[0]["params"][0], rtol=1e-4, atol=1e-5)


def matrices(seed: int = 0) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((8, 5), (3, 8), (3,))]


def stepped(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter], steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.grad = noise.to(parameter.dtype) + parameter.detach()
        optimizer.step()


@pytest.mark.parametrize("method", ["cumulative", "proximal", "hard"])
def test_it_resumes_bit_for_bit_through_json_and_tensors(method: Method) -> None:
    settings = SparseSettings(sparsity=0.6, method=method)
    parameters = matrices()
    optimizer = SparseOptimizer(parameters, settings, lr=0.02, steps=40)
    stepped(optimizer, parameters, range(17))
    tensors: dict[str, torch.Tensor] = {}
    saved = json.dumps(take_apart(optimizer.state_dict(), tensors))
    again = [torch.nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    stepped(optimizer, parameters, range(17, 40))

    resumed = SparseOptimizer(again, settings, lr=0.5, steps=40)
    resumed.load_state_dict(put_together(json.loads(saved), kept))  # pyright: ignore[reportArgumentType]
    stepped(resumed, again, range(17, 40))
    assert all(torch.equal(one, other) for one, other in zip(parameters, again, strict=True))


def test_small_floats_keep_their_totals_in_float32_through_a_checkpoint() -> None:
    parameters = [torch.nn.Parameter(torch.randn(50).to(torch.bfloat16))]
    optimizer = SparseOptimizer(parameters, SparseSettings(penalty=0.1), lr=0.01)
    stepped(optimizer, parameters, range(3))
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert optimizer.state[parameters[0]]["received"].dtype == torch.float32
    stepped(optimizer, parameters, range(3, 5))
    assert parameters[0].dtype == torch.bfloat16


def test_groups_say_what_is_penalised_and_zeros_are_counted_over_all_that_are() -> None:
    wide, narrow, bias = matrices()
    with torch.no_grad():
        narrow.mul_(100)

    def optimizer() -> SparseOptimizer:
        groups: list[dict[str, object]] = [{"params": [wide]}, {"params": [narrow], "lr": 0.001}, {"params": [bias], "penalised": False}]
        return SparseOptimizer(groups, SparseSettings(sparsity=0.5, settle=0), lr=0.01, steps=20)

    stepped(optimizer(), [bias], range(20))
    zeros = [int((parameter == 0).sum()) for parameter in (wide, narrow, bias)]
    assert sum(zeros[:2]) == 0, "no gradient, no step"
    stepped(optimizer(), [wide, narrow, bias], range(20))
    zeros = [int((parameter == 0).sum()) for parameter in (wide, narrow, bias)]
    assert sum(zeros) >= 32, "half of 64"
    assert zeros[0] > 30, "the first matrix has the smaller weights"
    assert zeros[2] == 0


def test_a_closure_is_called_and_something_must_be_penalised() -> None:
    (wide, *_) = matrices()
    optimizer = SparseOptimizer([wide], SparseSettings(penalty=0.1), lr=0.01)

    def closure() -> float:
        optimizer.zero_grad()
        loss = wide.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == pytest.approx(matrices()[0].square().sum().item())
    with pytest.raises(TrainingError, match="No group is penalised"):
        SparseOptimizer([{"params": [wide], "penalised": False}], SparseSettings(penalty=0.1), lr=0.1)
    with pytest.raises(TrainingError, match="over so many steps"):
        SparseOptimizer([wide], SparseSettings(sparsity=0.1), lr=0.1)
