"""Distillation: what is compared, how, and that a student learns from it, with labels and without."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.program import Program
from netwright.passes import Context, Pipeline, run
from netwright.training.distill import Distill, DistilledObjective, distillation_objective
from netwright.training.errors import TrainingError
from netwright.training.history import HISTORY, History
from netwright.training.likeness import scores_apart, soft_targets, squared, unaligned
from netwright.training.loop import fit
from netwright.training.objective import TorchBatch
from netwright.training.options import TrainOptions
from netwright.training.output_kinds import OutputTerm, output_term
from tests.netwright.training.encoders import damaged, encoder, sentences

EVERYTHING = Distill(hidden="auto", attention="auto")


def first_batch(rows: int = 16) -> TorchBatch:
    return {name: torch.from_numpy(array[:rows]) for name, array in sentences().items()}


def parts(objective: DistilledObjective, batch: TorchBatch | None = None) -> dict[str, float]:
    found = objective.loss(objective.module, batch or first_batch(), 0)
    assert math.isclose(float(found.total.detach()), sum(map(float, found.parts.values())), rel_tol=1e-5, abs_tol=1e-7)
    return {name: float(part) for name, part in found.parts.items()}


def away(student: Program, teacher: Program) -> float:
    """Mean squared difference of logits, up to a constant a row, on sentences that nobody was trained on."""
    ids = {"ids": sentences(64, seed=9)["ids"]}
    ours, theirs = (OrtExecutor().run(program, ids)["logits"] for program in (student, teacher))
    difference = ours - theirs
    return float(np.square(difference - difference.mean(axis=1, keepdims=True)).mean())


# ---- likeness ------------------------------------------------------------------------------------------------------


def test_soft_targets_are_the_divergence_of_softened_probabilities() -> None:
    student, teacher = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[0.0, 3.0, 1.0]])
    p, q = torch.softmax(teacher / 2, -1), torch.softmax(student / 2, -1)
    expected = 4 * (p * (p / q).log()).sum()
    torch.testing.assert_close(soft_targets(student, teacher, temperature=2.0), expected)
    assert float(soft_targets(teacher, teacher)) == pytest.approx(0.0, abs=1e-7)


def test_the_gradient_of_soft_targets_keeps_its_size_at_high_temperature() -> None:
    """For T → ∞ it tends to that of half the squared difference of centred logits over the number of classes."""
    student = torch.tensor([[1.0, 2.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 3.0, 0.0]])
    soft_targets(student, teacher, temperature=1e3).backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad, (student.detach() - teacher) / 3, rtol=1e-2, atol=1e-3)


def test_probabilities_give_what_their_logits_give() -> None:
    student, teacher = torch.randn(4, 5), torch.randn(4, 5)
    expected = soft_targets(student, teacher, temperature=2.0)
    found = soft_targets(student.softmax(-1), teacher.softmax(-1), temperature=2.0, scale="probabilities")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(soft_targets(student.log_softmax(-1), teacher.log_softmax(-1), temperature=2.0), expected)


def test_coins_are_compared_one_by_one() -> None:
    student, teacher = torch.randn(6, 2), torch.randn(6, 2)
    p, q = teacher.sigmoid(), student.sigmoid()
    expected = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(1).mean()
    torch.testing.assert_close(soft_targets(student, teacher, binary=True), expected)
    torch.testing.assert_close(soft_targets(q, p, binary=True, scale="probabilities"), expected, rtol=1e-4, atol=1e-5)


def test_normalised_differences_do_not_depend_on_magnitude() -> None:
    student, teacher = torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(squared(student, teacher, normalise=True), squared(100 * student, 100 * teacher, normalise=True))


def test_masked_scores_count_as_zero_on_both_sides() -> None:
    teacher = torch.tensor([[1.0, -10000.0, -torch.inf]])
    student = torch.tensor([[3.0, -torch.inf, -250.0]], requires_grad=True)
    loss = scores_apart(student, teacher)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(4 / 3)
    assert student.grad is not None
    assert student.grad.tolist() == [[pytest.approx(4 / 3), 0.0, 0.0]]


def test_the_cosine_ignores_length() -> None:
    rows = torch.randn(4, 8)
    assert float(unaligned(3 * rows, rows)) == pytest.approx(0.0, abs=1e-6)
    assert float(unaligned(-rows, rows)) == pytest.approx(2.0)


# ---- how outputs are compared --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "loss", "expected"),
    [
        ("logits = Identity (head)", None, OutputTerm("soft")),
        ("logits = Softmax (head)", None, OutputTerm("soft", "probabilities")),
        ("logits = LogSoftmax (head)", None, OutputTerm("soft", "log_probabilities")),
        ("logits = Sigmoid (head)", None, OutputTerm("soft", "probabilities", binary=True)),
        ("logits = Tanh (head)", None, OutputTerm("mse")),
        ("logits = Identity (head)", "mse", OutputTerm("mse")),
        ("logits = Identity (head)", "cosine", OutputTerm("cosine")),
        ("logits = Tanh (head)", {"logits": ("cross_entropy", 0.5)}, OutputTerm("soft")),
    ],
)
def test_what_an_output_is_tells_how_it_is_compared(ending: str, loss: str | None, expected: OutputTerm) -> None:
    assert output_term(encoder(ending=ending), "logits", "auto", loss) == expected


def test_the_way_can_be_chosen_by_output() -> None:
    assert output_term(encoder(), "logits", {"logits": "cosine"}, None).kind == "cosine"
    with pytest.raises(TrainingError, match="There is no comparison named 'kl'"):
        output_term(encoder(), "logits", cast("str", "kl"), None)  # type: ignore[arg-type]


# ---- the objective -------------------------------------------------------------------------------------------------


def test_a_student_that_is_its_teacher_has_nothing_to_learn() -> None:
    found = parts(distillation_objective(encoder(), encoder(), EVERYTHING))
    assert found == {name: pytest.approx(0.0, abs=1e-6) for name in ("outputs", "hidden", "attention")}


def test_weights_multiply_the_parts() -> None:
    student, teacher = damaged(encoder()), encoder()
    once = parts(distillation_objective(student, teacher, EVERYTHING, "cross_entropy"))
    options = Distill(hidden="auto", attention="auto", output_weight=2, hidden_weight=3, attention_weight=4, label_weight=0.5)
    found = parts(distillation_objective(student, teacher, options, "cross_entropy"))
    factors = {"outputs": 2, "hidden": 3, "attention": 4, "labels": 0.5}
    assert found == {name: pytest.approx(factor * once[name], rel=1e-5) for name, factor in factors.items()}


def test_a_part_without_weight_is_left_out() -> None:
    only = Distill(hidden="auto", output_weight=0)
    assert parts(distillation_objective(damaged(encoder()), encoder(), only)).keys() == {"hidden"}
    nothing = distillation_objective(encoder(), encoder(), Distill(output_weight=0))
    with pytest.raises(TrainingError, match="Nothing is compared"):
        nothing.loss(nothing.module, first_batch(), 0)


def test_the_teacher_learns_nothing_and_the_caller_keeps_his_programs() -> None:
    student, teacher = damaged(encoder()), encoder()
    before = [value.const_value for value in (*student.initializers(), *teacher.initializers())]
    fit(distillation_objective(student, teacher), sentences(), TrainOptions(steps=3, lr=1e-2, threads=1))
    assert [value.const_value for value in (*student.initializers(), *teacher.initializers())] == before


@pytest.mark.parametrize("operator", [False, True])
@pytest.mark.parametrize("distill", [Distill(), EVERYTHING, Distill(outputs="mse")], ids=["outputs", "everything", "mse"])
def test_a_damaged_student_comes_back_without_labels(distill: Distill, operator: bool) -> None:
    teacher = encoder(operator=operator)
    student = damaged(teacher)
    data = {"ids": sentences(384)["ids"]}
    objective = distillation_objective(student, teacher, distill)
    assert objective.misses == ()
    trained = fit(objective, data, TrainOptions(epochs=10, lr=1e-2, threads=1))
    assert away(trained, teacher) < 0.25 * away(student, teacher)


def test_both_runtimes_and_the_cache_train_the_same(tmp_path: Path) -> None:
    losses: list[tuple[float, ...]] = []
    for options in ({"runtime": "onnxruntime"}, {"runtime": "torch"}, {"cache": str(tmp_path)}, {"cache": str(tmp_path)}):
        distill = Distill(hidden="auto", attention="auto", **options)  # type: ignore[arg-type]
        trained = fit(
            distillation_objective(damaged(encoder()), encoder(), distill), sentences(), TrainOptions(epochs=2, lr=1e-2, threads=1)
        )
        losses.append(cast("History", trained.resources[HISTORY]).losses)
    for other in losses[1:]:
        np.testing.assert_allclose(other, losses[0], rtol=1e-4)


def test_a_quantized_student_is_taught_by_what_it_was() -> None:
    teacher = encoder()
    student = run(teacher, Pipeline.parse("simplify"), Context()).program
    found = distillation_objective(student, teacher, EVERYTHING)
    assert len(found.likeness.matching.pairs) == 8
    assert parts(found)["hidden"] < 1e-6


def test_a_small_stranger_learns_through_a_projection() -> None:
    student, teacher = encoder(layers=1, width=8), encoder(layers=3)
    objective = distillation_objective(student, teacher, Distill(pairs={"n1": "n3"}))
    trained = fit(objective, sentences(), TrainOptions(epochs=10, lr=1e-2, threads=1))
    history = cast("History", trained.resources[HISTORY])
    assert history.parts["hidden"][-1] < 0.8 * history.parts["hidden"][0]
    assert away(trained, teacher) < 0.5 * away(student, teacher)
    assert [value.name for value in trained.initializers()] == [value.name for value in student.initializers()]


def test_what_cannot_be_compared_is_listed() -> None:
    objective = distillation_objective(encoder(layers=1), encoder(layers=3), EVERYTHING)
    assert [miss.site for miss in objective.misses] == ["n0", "m0", "n1", "h0"]


def test_the_description_changes_with_the_teacher_and_the_options() -> None:
    first = distillation_objective(encoder(), encoder())
    texts = {
        first.describe(),
        distillation_objective(encoder(), encoder(seed=1)).describe(),
        distillation_objective(encoder(), encoder(), Distill(temperature=2)).describe(),
        distillation_objective(encoder(), encoder(), None, "cross_entropy").describe(),
    }
    assert len(texts) == 4
    assert first.describe() == distillation_objective(encoder(), encoder()).describe()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"temperature": 0}, "temperature"), ({"hidden_weight": -1}, "hidden_weight"), ({"runtime": "gpu"}, "runtime")],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        Distill(**options)  # type: ignore[arg-type]
