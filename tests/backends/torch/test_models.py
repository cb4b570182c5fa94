"""Whole models: the module that was traced and the GraphModule give the same outputs and the same parameter gradients."""

from __future__ import annotations

import functools

import pytest
import torch

from benchmarks._gradients import Gradients, difference, of_module, of_program, simplified
from benchmarks._networks import NETWORKS, Network
from netwright.frontends.torch import trace
from netwright.ir.program import Program
from tests.models import SMALL_MODELS, SmallModel, small_models, traced

each_model = pytest.mark.parametrize("model", small_models(), ids=SMALL_MODELS)


@functools.cache
def expected(name: str) -> tuple[list[torch.Tensor], Gradients]:
    model = SMALL_MODELS[name]
    return of_module(model.module(), model.example(3, 5))


def check(model: SmallModel, program: Program) -> tuple[str, ...]:
    """The parameters that have no gradient."""
    found = difference(expected(model.name), of_program(program, model.example(3, 5)))
    assert found.output < 1e-5
    assert found.gradient < 1e-4, found.worst
    assert found.compared > 0
    return found.missing


@each_model
def test_the_gradients_of_a_traced_model_are_its_own(model: SmallModel) -> None:
    assert not check(model, traced(model.name))


@each_model
def test_a_simplified_trainable_model_keeps_all_gradients(model: SmallModel) -> None:
    assert not check(model, simplified(traced(model.name), trainable=True))


@each_model
def test_a_simplified_model_keeps_the_gradients_of_what_was_not_folded(model: SmallModel) -> None:
    missing = check(model, simplified(traced(model.name), trainable=False))
    assert all("weight" in name or "bias" in name for name in missing)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_gradients_of_the_benchmarks_networks_are_their_own(network: Network) -> None:
    module, given = network.module(), network.example()
    program = trace(module, kwargs=given, dynamic_shapes=network.dynamic)
    for one in (program, simplified(program, trainable=True)):
        found = difference(of_module(module, given), of_program(one, given))
        assert found.output < 1e-5
        assert found.gradient < 1e-4, found.worst
        assert not found.missing
