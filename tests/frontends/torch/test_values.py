"""A traced program computes what the module computes, at the example's sizes and at others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from netwright.frontends.torch import trace
from tests.frontends.torch.running import run
from tests.models import SMALL_MODELS, SmallModel, traced


@pytest.mark.parametrize("model", SMALL_MODELS.values(), ids=list(SMALL_MODELS))
def test_a_small_model_gives_the_same_values_at_other_sizes(model: SmallModel) -> None:
    program = traced(model.name)
    feeds = model.example(batch=3, length=9, seed=1)
    with torch.no_grad():
        returned = model.module()(**feeds)
    wanted = {program.outputs[0].name or "": returned} if isinstance(returned, Tensor) else returned
    found = run(program, feeds)
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        np.testing.assert_allclose(found[name], tensor.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", [18, 24])
def test_other_operator_sets_can_be_had(opset: int) -> None:
    model = SMALL_MODELS["grouped_conv"]
    module, feeds = model.module(), model.example()
    program = trace(module, kwargs=feeds, opset=opset)
    assert program.opset == opset
    with torch.no_grad():
        np.testing.assert_allclose(next(iter(run(program, feeds).values())), module(**feeds).numpy(), rtol=1e-4, atol=1e-5)


def test_from_opset_23_on_attention_and_rms_norm_are_one_node_each() -> None:
    program = traced("decoder")
    assert sum(1 for _ in program.nodes("Attention")) == 2
    assert sum(1 for _ in program.nodes("RMSNormalization")) == 5
    assert not list(program.nodes("Softmax"))


def test_splits_arrive_without_sequences() -> None:
    class Splits(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            first, _, third = x.chunk(3, -1)
            head, tail = torch.split(x, [1, 6], dim=-1)
            left, right = torch.unbind(x[:, :2], 1)
            return first * 2, third, head + tail, left - right, torch.split(x, 3, -1)[2]

    x = torch.randn(4, 7)
    program = trace(Splits(), x, dynamic_shapes={0: "rows"})
    assert not list(program.nodes("SplitToSequence", "SequenceAt"))
    feeds = {"x": torch.randn(5, 7)}
    for found, wanted in zip(run(program, feeds).values(), Splits()(feeds["x"]), strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-6)


def test_half_precision_parameters_keep_their_type() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).half().eval()
    x = torch.randn(3, 4).half()
    program = trace(module, x)
    (found,) = run(program, {"input": x}).values()
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-2, atol=1e-3)


def test_bfloat16_parameters_are_taken_as_they_are() -> None:
    module = nn.Linear(4, 2).bfloat16()
    program = trace(module, torch.randn(3, 4).bfloat16())
    weight = program.graph.initializers["weight"].const_value
    assert weight is not None
    assert str(weight.dtype) == "BFLOAT16"
    np.testing.assert_array_equal(weight.numpy().astype(np.float32), module.weight.detach().float().numpy())


def test_a_stacked_lstm_keeps_a_dynamic_length_and_what_is_computed_from_it() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(8, 8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y, _ = self.lstm(x)
            return (y + x).reshape(y.shape[0] * y.shape[1], -1)

    module = Flat().eval()
    program = trace(module, torch.randn(2, 7, 8), dynamic_shapes={0: "batch", 1: "length"})
    assert sum(1 for _ in program.nodes("LSTM")) == 2
    x = torch.randn(3, 5, 8)
    (found,) = run(program, {"x": x}).values()
    np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_tracing_leaves_torchs_own_lstm_as_it_was() -> None:
    before = dict(torch.ops.aten.lstm.input.py_kernels)
    module = nn.LSTM(4, 4)
    x = torch.randn(5, 2, 4)
    wanted = module(x)[0]
    trace(module, x)
    assert torch.ops.aten.lstm.input.py_kernels == before
    assert torch.equal(module(x)[0], wanted)
