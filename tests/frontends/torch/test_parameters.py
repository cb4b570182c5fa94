"""Parameters, ties, origins, and the kinds of things that can be traced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from netwright.frontends.torch import trace
from netwright.ir.origin import origin_of
from netwright.ir.program import Program
from tests.frontends.torch.running import run
from tests.models import SMALL_MODELS, traced


def wrapped(program: Program, name: str) -> object:
    """The torch tensor behind an initializer."""
    return getattr(program.graph.initializers[name].const_value, "raw", None)


def test_every_parameter_is_the_modules_own_under_its_path() -> None:
    for name in ("gru", "grouped_conv"):
        model = SMALL_MODELS[name]
        module = model.module()
        program = trace(module, kwargs=model.example())
        for path, parameter in module.named_parameters():
            assert wrapped(program, path) is parameter
        assert program.resources["torch.module"] is module
        assert program.resources["torch.parameters"] == dict(module.named_parameters())


def test_running_statistics_are_the_modules_own_too() -> None:
    module = nn.BatchNorm1d(4).eval()
    program = trace(module, torch.ones(2, 4))
    assert wrapped(program, "running_mean") is module.running_mean
    assert program.resources["torch.buffers"] == dict(module.named_buffers())


def test_a_tied_weight_is_one_initializer_under_its_first_path() -> None:
    program = traced("decoder")
    assert "tokens.weight" in program.graph.initializers
    assert "head.weight" not in program.graph.initializers
    assert len(program.graph.initializers["tokens.weight"].uses()) == 2


def test_nodes_know_their_module_class_and_source_line() -> None:
    program = traced("resnet")
    origin = origin_of(next(node for node in program.nodes("Conv") if origin_of(node).module == "blocks.1.first.0"))
    assert origin.cls.endswith("Conv2d")
    assert Path(origin.source.rsplit(":", 1)[0]).name == "convnets.py"
    assert not any(key.startswith("pkg.") for node in program.nodes() for key in node.metadata_props)


def test_constants_are_initializers() -> None:
    assert not list(traced("lstm").nodes("Constant"))


def test_the_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
    module[1].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for dropout in (False, True):
        trace(module, torch.randn(3, 4), dropout=dropout)
    assert [inner.training for inner in module.modules()] == [True, True, False, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_flags_are_restored_after_a_failure_too() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("no")

    module = Fails()
    try:
        trace(module, torch.ones(1))
    except Exception:  # noqa: BLE001 (which error is another test's matter)
        assert module.training
    else:
        raise AssertionError("it should fail")


def test_an_exported_program_keeps_its_parameters_and_can_name_its_dimensions() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()
    exported = torch.export.export(module, (torch.randn(2, 4),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    program = trace(exported, dynamic_shapes={0: "rows"})
    assert str(program.outputs[0].shape) == "[rows,4]"
    assert wrapped(program, "0.weight") is module[0].weight
    assert program.resources["torch.module"] is exported
    x = torch.randn(5, 4)
    np.testing.assert_allclose(next(iter(run(program, {"input": x}).values())), module(x).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_graph_module_is_traced_like_any_module() -> None:
    module = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    program = trace(module, torch.randn(2, 4))
    assert wrapped(program, "0.weight") is module.get_parameter("0.weight")
    x = torch.randn(2, 4)
    np.testing.assert_allclose(next(iter(run(program, {"input": x}).values())), module(x).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_compiled_module_is_traced_as_what_it_wraps() -> None:
    module = nn.Linear(4, 4)
    program = trace(torch.compile(module), torch.randn(2, 4))  # pyright: ignore[reportArgumentType]
    assert wrapped(program, "weight") is module.weight
