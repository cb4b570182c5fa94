"""Gradients for passes: against differences, and what has none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from netwright.ir.errors import DataError
from netwright.passes import Context
from netwright.passes.context import Gradients, Loss, Trainer
from netwright.training.errors import TrainingError
from netwright.training.gradients import TorchGradients
from netwright.training.objective import TorchBatch
from netwright.training.terms import Outputs
from netwright.training.trainer import TorchTrainer
from tests.netwright.training.support import accuracy, classifier, labelled_rows, weights_of

ROWS = labelled_rows(24)
BATCHES = [{name: array[start : start + 8] for name, array in ROWS.items()} for start in (0, 8, 16)]
UNEVEN = [{name: array[:16] for name, array in ROWS.items()}, {name: array[16:] for name, array in ROWS.items()}]


def by_hand(rows: dict[str, np.ndarray]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The classifier on torch, its weights and its hidden layer requiring gradients."""
    w = {name: torch.tensor(array, requires_grad=True) for name, array in weights_of(classifier()).items()}
    hidden = torch.relu(torch.tensor(rows["x"]) @ w["w1"] + w["b1"])
    hidden.retain_grad()
    torch.nn.functional.cross_entropy(hidden @ w["w2"] + w["b2"], torch.tensor(rows["labels"])).backward()
    gradients = {name: tensor.grad for name, tensor in {**w, "r": hidden}.items() if tensor.grad is not None}
    return gradients, hidden


@pytest.mark.parametrize("batches", [[ROWS], BATCHES, UNEVEN])
def test_gradients_of_weights_are_those_of_the_mean_over_all_rows(batches: Sequence[dict[str, np.ndarray]]) -> None:
    expected, _ = by_hand(ROWS)
    found = TorchGradients().of(classifier(), batches, "cross_entropy", ["w1", "b2"])
    assert list(found) == ["w1", "b2"]
    for name, gradient in found.items():
        assert gradient.dtype == np.float32
        np.testing.assert_allclose(gradient, expected[name].numpy(), rtol=1e-4, atol=1e-7)


def test_gradients_of_inner_values_have_their_shape_and_mean_over_batches() -> None:
    found = TorchGradients().of(classifier(), BATCHES, "cross_entropy", ["r", "w1"])
    expected = np.mean([by_hand(batch)[0]["r"].numpy() for batch in BATCHES], 0)
    np.testing.assert_allclose(found["r"], expected, rtol=1e-4, atol=1e-7)
    with pytest.raises(DataError, match=r"%r has shape \[16, 16\] in one batch and \[8, 16\] in another"):
        TorchGradients().of(classifier(), UNEVEN, "cross_entropy", ["r"])


def test_each_batch_has_its_gradient() -> None:
    found = list(TorchGradients().each(classifier(), UNEVEN, "cross_entropy", ["w1", "r"]))
    assert len(found) == 2
    for one, batch in zip(found, UNEVEN, strict=True):
        expected, _ = by_hand(batch)
        for name, gradient in one.items():
            np.testing.assert_allclose(gradient, expected[name].numpy(), rtol=1e-4, atol=1e-7)


def test_squares_with_batches_of_one_row_are_the_fisher_diagonal() -> None:
    rows = [{name: array[index : index + 1] for name, array in ROWS.items()} for index in range(24)]
    found = TorchGradients(threads=1).squares(classifier(), rows, "cross_entropy", ["w2"])
    expected = np.mean([by_hand(row)[0]["w2"].numpy() ** 2 for row in rows], 0)
    np.testing.assert_allclose(found["w2"], expected, rtol=1e-4, atol=1e-9)


def test_a_loss_may_be_a_function_and_what_it_does_not_touch_has_gradient_zero() -> None:
    def first_logit(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
        return outputs["logits"][:, 0].mean()

    loss: Loss = first_logit
    found = TorchGradients().of(classifier(), BATCHES, loss, ["b2"])
    np.testing.assert_allclose(found["b2"], [1, 0, 0], atol=1e-6)


@pytest.mark.parametrize(("values", "message"), [(["ratio"], "ratio"), (["w1", "x"], "x"), (["on"], "on has no gradient")])
def test_what_has_no_gradient_is_refused_by_name(values: list[str], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        TorchGradients().of(classifier(dropout=True), BATCHES, "cross_entropy", values)


def test_no_batch_is_an_error() -> None:
    with pytest.raises(DataError, match="no batch"):
        TorchGradients().of(classifier(), [], "cross_entropy", ["w1"])


def test_they_are_what_a_context_asks_for() -> None:
    gradients: Gradients = TorchGradients()
    trainer: Trainer = TorchTrainer(seed=1)
    context = Context(gradients=gradients, trainer=trainer)
    assert context.has("gradients")
    rows = labelled_rows()
    batches = [{name: array[start : start + 32] for name, array in rows.items()} for start in range(0, 256, 32)]
    assert context.trainer is not None
    trained = context.trainer.train(classifier(), batches, loss="cross_entropy", epochs=10, lr=0.02)
    assert accuracy(trained, rows) > accuracy(classifier(), rows) + 0.2
