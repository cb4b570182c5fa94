"""Weight decay of factored weights acts on their product."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from netwright.backends.torch import binding_of, lower_to_torch
from netwright.ir.program import Program, array
from netwright.training import train
from netwright.training.factors import Factor, factor_chains
from netwright.training.product_decay import ProductDecay, product_decay
from tests.netwright.training.support import classifier, factored, history_of, labelled_rows, same_weights
from tests.passes.programs import program_of

RANK = 3


def parameter(*shape: int, seed: int) -> torch.nn.Parameter:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))


def decay_of(*chains: tuple[Factor, ...], **parameters: torch.nn.Parameter) -> ProductDecay:
    return product_decay(chains, parameters, 1.0, in_gradient=False)


def row(name: str, rows: int, columns: int) -> Factor:
    return Factor(name, (1, rows, columns), (0, 1, 2))


def expected(product: Callable[[], torch.Tensor], *parameters: torch.nn.Parameter) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(0.5 * product().square().sum(), parameters)


def test_two_three_and_shared_factors_have_autograds_gradient() -> None:
    a, b, c, d = parameter(7, 3, seed=0), parameter(3, 4, seed=1), parameter(4, 6, seed=2), parameter(3, 5, seed=3)
    found = decay_of((row("a", 7, 3), row("b", 3, 4), row("c", 4, 6)), (row("a", 7, 3), row("d", 3, 5)), a=a, b=b, c=c, d=d).gradients()
    wanted = expected(lambda: torch.cat([a @ b @ c, a @ d], dim=1), a, b, c, d)
    for one, gradient in zip((a, b, c, d), wanted, strict=True):
        torch.testing.assert_close(found[one], gradient)


RESPONSES: dict[str, tuple[str, str, np.ndarray, dict[str, tuple[int, ...]]]] = {
    "rows": ("a = MatMul (x, f) y = Gemm <transB = 1> (a, g)", "float[N, 5] x", np.eye(5), {"f": (5, 3), "g": (4, 3)}),
    "table": ("a = Gather (f, x) y = MatMul (a, g)", "int64[N] x", np.arange(6), {"f": (6, 3), "g": (3, 4)}),
    "convolutions in groups": (
        "a = Conv <group = 2, pads = [2, 0, 2, 0]> (x, f) y = Conv <group = 2, pads = [0, 1, 0, 1]> (a, g)",
        "float[N, 8, 1, 1] x",
        np.eye(8)[..., None, None],
        {"f": (6, 4, 3, 1), "g": (10, 3, 1, 2)},
    ),
    "a transposed convolution": (
        "a = Conv (x, f) y = ConvTranspose (a, g)",
        "float[N, 5, 1, 1] x",
        np.eye(5)[..., None, None],
        {"f": (3, 5, 1, 1), "g": (3, 4, 3, 2)},
    ),
}


@pytest.mark.parametrize("kind", RESPONSES)
def test_the_product_is_what_the_graph_answers_to_each_input_channel(kind: str) -> None:
    body, inputs, x, shapes = RESPONSES[kind]
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    output = f"float[{', '.join('ABCD'[: 4 if 'Conv' in body else 2])}] y"
    program = program_of(f'<ir_version: 10, opset_import: ["" : 20]> g ({inputs}, WEIGHTS) => ({output}) {{ {body} }}', weights)
    module = lower_to_torch(program)
    answer = module(torch.from_numpy(x if x.dtype == np.int64 else x.astype(np.float32)))
    parameters = {bound.value: module.get_parameter(key) for key, bound in binding_of(module).tensors.items()}
    found = product_decay(factor_chains(program), parameters, 1.0, in_gradient=False).gradients()
    for one, gradient in zip(parameters.values(), torch.autograd.grad(0.5 * answer.square().sum(), list(parameters.values())), strict=True):
        torch.testing.assert_close(found[one], gradient, rtol=1e-4, atol=1e-4)


# ---- in a run ----------------------------------------------------------------------------------------------------------


def held(program: Program, name: str) -> np.ndarray:
    found = array(program.value(name))
    assert found is not None
    return found.astype(np.float64)


def run(program: Program, **options: object) -> Program:
    given: dict[str, object] = {"loss": "cross_entropy", "steps": 1, "schedule": "constant", "warmup": 0, "threads": 1, **options}
    return cast("Callable[..., Program]", train)(program, labelled_rows(64), **given)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_step_takes_the_gradient_of_the_product_off_each_factor(optimizer: str) -> None:
    lr, decay = 1e-2, 0.3
    start = factored()
    plain, decayed = (run(start, optimizer=optimizer, lr=lr, weight_decay=one) for one in (0.0, decay))
    v, u = held(start, "v"), held(start, "u")
    wanted = {"v": lr * decay * v @ u @ u.T, "u": lr * decay * v.T @ v @ u, "w": lr * decay * held(start, "w"), "b": np.zeros(16)}
    for name, difference in wanted.items():
        np.testing.assert_allclose(held(plain, name) - held(decayed, name), difference, atol=2e-6)
    assert history_of(decayed).decayed_products == 1
    assert history_of(plain).decayed_products == 0


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "rmsprop"])
def test_products_shrink_with_every_optimizer(optimizer: str) -> None:
    plain, decayed = (run(factored(), optimizer=optimizer, lr=1e-3, steps=40, weight_decay=one) for one in (0.0, 5.0))
    first, second = (np.linalg.norm(held(one, "v") @ held(one, "u")) for one in (plain, decayed))
    assert second < 0.98 * first


def test_of_orthogonal_factors_the_product_decays_along_its_singular_vectors() -> None:
    """W = s q pᵀ with factors √s q and √s pᵀ: both lose the share lr λ s, W twice that, to first order."""
    q, p = (np.linalg.qr(np.random.default_rng(seed).normal(size=(size, RANK)))[0] for seed, size in ((0, 9), (1, 6)))
    scales = np.array([3.0, 1.0, 0.5])
    v = torch.nn.Parameter(torch.from_numpy(q * np.sqrt(scales)))
    u = torch.nn.Parameter(torch.from_numpy((p * np.sqrt(scales)).T.copy()))
    before = (v @ u).detach().numpy()
    for one in (v, u):
        one.grad = torch.zeros_like(one)
    rate = 1e-5
    decay_of((row("v", 9, 3), row("u", 3, 6)), v=v, u=u).apply(rate)
    left = np.linalg.svd((v @ u).detach().numpy())[1][:RANK] / np.linalg.svd(before)[1][:RANK]
    np.testing.assert_allclose((1 - left) / rate, 2 * scales, rtol=1e-3)


def test_factors_decay_each_where_that_is_asked_for() -> None:
    start = factored()
    plain, decayed = (run(start, lr=1e-2, weight_decay=one, product_decay=False) for one in (0.0, 0.3))
    np.testing.assert_allclose(held(plain, "v") - held(decayed, "v"), 3e-3 * held(start, "v"), atol=2e-6)
    assert history_of(decayed).decayed_products == 0


def test_without_chains_nothing_changes() -> None:
    with_it, without = (run(classifier(), steps=8, weight_decay=0.1, product_decay=one) for one in (True, False))
    assert same_weights(with_it, without)
    assert history_of(with_it).losses == history_of(without).losses


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    options: dict[str, object] = {"steps": None, "epochs": 4, "weight_decay": 0.5, "lr": 1e-2, "schedule": "cosine"}
    whole = run(factored(), **options, checkpoint=tmp_path / "whole", checkpoint_keep=9)
    for folder in sorted((tmp_path / "whole").iterdir())[2:]:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    resumed = run(factored(), **options, checkpoint=tmp_path / "whole", checkpoint_keep=9, resume=True)
    assert same_weights(whole, resumed)
    assert history_of(whole).losses == history_of(resumed).losses
