"""Training mode: Dropout that was kept drops, BatchNormalization takes its statistics from the batch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import netwright as nw
from netwright.backends.torch import lower_to_torch
from netwright.frontends.torch import trace
from netwright.ir import Program
from tests.backends.torch.programs import from_text
from tests.models import SMALL_MODELS, traced

# ---- dropout -----------------------------------------------------------------------------------------------------

RATE = 0.3


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8))
        self.dropout = nn.Dropout(RATE)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x * self.scale)


@pytest.fixture(scope="module")
def dropping() -> Program:
    return trace(Dropping(), torch.randn(2, 8), dynamic_shapes={"x": {0: "batch"}}, dropout=True)


def test_dropout_drops_in_training_mode_only(dropping: Program) -> None:
    module = nw.to_torch(dropping)
    x = torch.ones(500, 8)
    assert not module.training
    torch.testing.assert_close(module(x), x)
    module.train()
    y = module(x)
    assert abs(float((y == 0).float().mean()) - RATE) < 0.03
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - RATE)))
    assert not torch.equal(y, module(x))
    module.eval()
    torch.testing.assert_close(module(x), x)


def test_dropout_draws_what_the_modules_own_draws(dropping: Program) -> None:
    module, original = nw.to_torch(dropping).train(), Dropping().train()
    x = torch.randn(64, 8)
    torch.manual_seed(5)
    expected = original(x)
    torch.manual_seed(5)
    torch.testing.assert_close(module(x), expected)


def test_gradients_of_what_was_dropped_are_zero(dropping: Program) -> None:
    module = nw.to_torch(dropping).train()
    x = torch.ones(50, 8, requires_grad=True)
    y = module(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad == 0, y == 0)


def test_without_dropout_in_the_graph_training_mode_changes_nothing() -> None:
    model = SMALL_MODELS["encoder_separate_qkv"]
    module, given = nw.to_torch(traced(model.name)), model.example()
    torch.testing.assert_close(module.train()(**given), module.eval()(**given), rtol=0, atol=0)


def test_a_transformer_traced_with_dropout_draws_the_same_as_the_module() -> None:
    model = SMALL_MODELS["encoder_separate_qkv"]
    original, given = model.module(), model.example()
    module = nw.to_torch(trace(original, kwargs=given, dynamic_shapes=model.dynamic, dropout=True))
    torch.testing.assert_close(module(**given), original(**given), rtol=1e-5, atol=1e-5)
    found: list[Tensor] = []
    for one in (original.train(), module.train()):
        torch.manual_seed(1)
        found.append(one(**given))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


class DroppedAttention(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=RATE if self.training else 0.0)


def test_dropout_inside_of_attention_has_the_rate_of_the_module() -> None:
    generator = torch.Generator().manual_seed(2)
    q, k = (torch.randn(1, 2, 40, 8, generator=generator) for _ in range(2))
    v = torch.eye(40).expand(1, 2, 40, 40)
    module = nw.to_torch(trace(DroppedAttention(), (q, k, v), dropout=True))
    weights = module(q, k, v)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 40))
    dropped = module.train()(q, k, v)
    assert abs(float((dropped == 0).float().mean()) - RATE) < 0.04
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], (weights / (1 - RATE))[kept], rtol=1e-4, atol=1e-5)


# ---- norms -------------------------------------------------------------------------------------------------------


def train_three_steps(module: nn.Module, batches: list[Tensor]) -> list[Tensor]:
    """The outputs of three steps of SGD."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    found: list[Tensor] = []
    for batch in batches:
        output = module(batch)
        optimizer.zero_grad()
        output.square().mean().backward()
        optimizer.step()
        found.append(output.detach())
    return found


@pytest.mark.parametrize("name", ["resnet", "densenet", "mobilenet_v2"])
def test_norms_train_as_those_of_the_module(name: str) -> None:
    model = SMALL_MODELS[name]
    original = model.module().train()
    module = nw.to_torch(traced(name), train_norms=True).train()
    batches = [model.example(4, seed=seed)["image"] for seed in range(3)]
    expected, found = train_three_steps(original, batches), train_three_steps(module, batches)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    state = module.state_dict()
    own = {key: tensor for key, tensor in original.state_dict().items() if "num_batches" not in key}
    assert any("running_var" in key for key in own)
    for key, tensor in own.items():
        torch.testing.assert_close(state[key], tensor, rtol=1e-3, atol=1e-4, msg=key)
    torch.testing.assert_close(module.eval()(batches[0]), original.eval()(batches[0]), rtol=1e-3, atol=1e-4)


def test_gradients_through_the_statistics_of_a_batch_are_the_modules() -> None:
    model = SMALL_MODELS["resnet"]
    original, module = model.module().train(), nw.to_torch(traced("resnet"), train_norms=True).train()
    x = model.example(4)["image"]
    original(x).square().mean().backward()
    module(x).square().mean().backward()
    for name, parameter in original.named_parameters():
        torch.testing.assert_close(module.get_parameter(name).grad, parameter.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_norms_keep_their_statistics_unless_asked() -> None:
    module = nw.to_torch(traced("resnet")).train()
    before = copy.deepcopy(module.state_dict())
    image = SMALL_MODELS["resnet"].example(4)["image"]
    torch.testing.assert_close(module(image), module.eval()(image), rtol=0, atol=0)
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())


def test_in_eval_mode_trained_norms_use_their_running_statistics() -> None:
    module = nw.to_torch(traced("resnet"), train_norms=True)
    image = SMALL_MODELS["resnet"].example(4)["image"]
    torch.testing.assert_close(module(image), nw.to_torch(traced("resnet"))(image), rtol=0, atol=0)


@pytest.mark.parametrize("momentum", [0.9, 0.7])
def test_the_share_of_the_old_statistics_is_the_operators_momentum(momentum: float) -> None:
    program = from_text(
        f"""norm (float[N, 2, 3] x) => (float[N, 2, 3] y)
        <float[2] gamma = {{1, 2}}, float[2] beta = {{0, 1}}, float[2] mean = {{5, 6}}, float[2] var = {{3, 4}}>
        {{ y = BatchNormalization <momentum: float = {momentum}> (x, gamma, beta, mean, var) }}"""
    )
    module = lower_to_torch(program, train_norms=True).train()
    x = torch.randn(8, 2, 3)
    y = module(x)
    np.testing.assert_allclose(y.mean((0, 2)).tolist(), [0, 1], atol=1e-5)
    expected = torch.tensor([5.0, 6.0]) * momentum + x.mean((0, 2)) * (1 - momentum)
    torch.testing.assert_close(module.get_buffer("mean"), expected)
    torch.testing.assert_close(
        module.get_buffer("var"), torch.tensor([3.0, 4.0]) * momentum + x.transpose(0, 1).flatten(1).var(1) * (1 - momentum)
    )
