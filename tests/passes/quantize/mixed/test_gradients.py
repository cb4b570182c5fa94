"""What rounding costs to first order, by gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from netwright.ir import Program
from netwright.ir.errors import ContractError
from netwright.passes import Context
from netwright.passes.quantize.choice import Dynamic
from netwright.passes.quantize.mixed import allocated_bits
from netwright.passes.quantize.mixed.errors import FISHER_ROWS, gradient_errors
from netwright.passes.quantize.mixed.rounded import rounded, with_bits
from netwright.passes.quantize.planning import survey
from netwright.passes.quantize.units import Unit
from netwright.training.gradients import TorchGradients
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, normal

WIDTH, CLASSES, ROWS = 64, 16, 24
DATA = [{"x": normal(ROWS, WIDTH, seed=5), "labels": np.arange(ROWS, dtype=np.int64) % CLASSES}]


def branches() -> Program:
    """y = x A + x B / 100: the loss hardly feels B."""
    text = f"""{HEAD} g (float[N, {WIDTH}] x, WEIGHTS) => (float[N, {CLASSES}] y)
    {{ a = MatMul (x, wa)  b = MatMul (x, wb)  s = Mul (b, less)  y = Add (a, s) }}"""
    weights = {"wa": normal(WIDTH, CLASSES, seed=1) / 8, "wb": normal(WIDTH, CLASSES, seed=2) / 8, "less": np.array([0.01], np.float32)}
    return program_of(text, weights)


def context() -> Context:
    """Labels, a loss, and gradients."""
    return Context(gradients=TorchGradients(threads=1), training=DATA, loss="cross_entropy")


def by_name(program: Program) -> dict[str, Unit]:
    """Units by the name of their site."""
    return {unit.sites[0].name: unit for unit in survey(program).units}


def fisher() -> dict[str, np.ndarray]:
    """The mean of squared gradients, row by row, on torch."""
    weights = {"wa": normal(WIDTH, CLASSES, seed=1) / 8, "wb": normal(WIDTH, CLASSES, seed=2) / 8}
    tensors = {name: torch.tensor(array.astype(np.float32), requires_grad=True) for name, array in weights.items()}
    squares = {name: np.zeros(array.shape) for name, array in weights.items()}
    for number in range(ROWS):
        row = torch.tensor(DATA[0]["x"][number : number + 1])
        y = row @ tensors["wa"] + row @ tensors["wb"] * 0.01
        loss = torch.nn.functional.cross_entropy(y, torch.tensor([number % CLASSES]))
        for name, gradient in zip(tensors, torch.autograd.grad(loss, list(tensors.values())), strict=True):
            squares[name] += np.square(gradient.numpy()) / ROWS
    return squares


def test_errors_are_squared_gradients_times_squared_rounding() -> None:
    program = branches()
    units, squares = by_name(program), fisher()
    assert ROWS <= FISHER_ROWS
    found = gradient_errors(program, dict.fromkeys(units.values(), Dynamic()), context())
    for name, weight in (("a", "wa"), ("b", "wb")):
        whole = program.value(weight).const_value
        assert whole is not None
        for bits in (2, 4, 8):
            off = rounded(units[name], with_bits(Dynamic(), bits))[weight] - whole.numpy()
            assert np.isclose(found[units[name]][bits], 0.5 * float((squares[weight] * np.square(off)).sum()), rtol=1e-3)


def test_bits_go_where_the_loss_feels_them() -> None:
    program = branches()
    units = by_name(program)
    found = allocated_bits(program, dict.fromkeys(units.values(), Dynamic()), {"bits": 5}, context(), by="gradients")
    assert {name: found.bits[unit] for name, unit in units.items()} == {"a": 8, "b": 2}
    assert found.error < found.uniform / 5


def test_without_training_data_it_says_so() -> None:
    program = branches()
    choices = dict.fromkeys(survey(program).units, Dynamic())
    for lacking in (replace(context(), training=None), replace(context(), gradients=None)):
        with pytest.raises(ContractError, match="need training data"):
            gradient_errors(program, choices, lacking)
