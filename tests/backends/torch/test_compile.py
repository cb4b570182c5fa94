"""`torch.compile` takes a GraphModule whole, and what it makes runs other sizes too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmarks._gradients import floats
from netwright.backends.torch import lower_to_torch
from tests.models import SMALL_MODELS, traced

QUICK = ("resnet", "encoder_separate_qkv")
"""The others take long to trace."""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else [pytest.mark.slow]) for name in SMALL_MODELS])
def test_a_compiled_module_is_one_graph_and_equals_the_eager_one(name: str) -> None:
    model, module = SMALL_MODELS[name], lower_to_torch(traced(name))
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for batch, length in ((2, 6), (4, 9)):
        given = tuple(model.example(batch, length).values())
        torch.testing.assert_close(floats(compiled(*given)), floats(module(*given)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet", pytest.param("encoder_separate_qkv", marks=pytest.mark.slow)])
def test_gradients_of_a_compiled_module_are_those_of_the_eager_one(name: str) -> None:
    given = tuple(SMALL_MODELS[name].example().values())
    eager, other = lower_to_torch(traced(name)), lower_to_torch(traced(name))
    floats(eager(*given))[0].square().mean().backward()
    floats(torch.compile(other, fullgraph=True, backend="aot_eager")(*given))[0].square().mean().backward()
    for key, parameter in eager.named_parameters():
        torch.testing.assert_close(other.get_parameter(key).grad, parameter.grad, rtol=1e-4, atol=1e-6, msg=key)


def test_one_compiled_graph_serves_every_batch_when_sizes_are_dynamic() -> None:
    module = lower_to_torch(traced("encoder_separate_qkv"))
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
    model = SMALL_MODELS["encoder_separate_qkv"]
    compiled(*model.example(2, 6).values())
    with torch.compiler.set_stance("fail_on_recompile"):
        for batch, length in ((5, 9), (3, 4)):
            given = tuple(model.example(batch, length).values())
            torch.testing.assert_close(compiled(*given), module(*given), rtol=1e-5, atol=1e-5)
