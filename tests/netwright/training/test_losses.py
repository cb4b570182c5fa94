"""Losses against formulas written out, and how labels find their output."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from netwright.ir.errors import DataError
from netwright.training.errors import TrainingError
from netwright.training.losses import LOSSES, Prediction, Scale
from netwright.training.objective import TorchBatch
from netwright.training.terms import LossLike, Outputs, Term, batch_loss, describe_loss
from tests.netwright.training.support import CLASSES, classifier, two_headed


def loss_of(name: str, output: torch.Tensor, labels: torch.Tensor, scale: Scale = "logits", lengths: torch.Tensor | None = None) -> float:
    return float(LOSSES[name](Prediction(output, labels, scale, lengths)))


@pytest.mark.parametrize("leading", [(5,), (4, 3), (2, 3, 4)])
def test_cross_entropy_takes_class_indexes_under_any_leading_axes(leading: tuple[int, ...]) -> None:
    logits, labels = torch.randn(*leading, 7), torch.randint(0, 7, leading)
    p = torch.softmax(logits, -1).gather(-1, labels.unsqueeze(-1))
    assert loss_of("cross_entropy", logits, labels) == pytest.approx(float(-p.log().mean()), rel=1e-5)


def test_cross_entropy_takes_classes_on_axis_1_where_the_labels_say_so() -> None:
    logits, labels = torch.randn(2, 7, 4, 5), torch.randint(0, 7, (2, 4, 5))
    assert loss_of("cross_entropy", logits, labels) == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    p = torch.softmax(logits, 1)
    assert loss_of("cross_entropy", p, labels, "probabilities") == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-4)


def test_cross_entropy_leaves_out_labels_of_minus_100() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, -100, 2, -100])
    assert loss_of("cross_entropy", logits, labels) == pytest.approx(loss_of("cross_entropy", logits[[0, 2]], labels[[0, 2]]), rel=1e-6)


def test_cross_entropy_takes_probabilities_as_labels() -> None:
    logits, soft = torch.randn(4, 3), torch.softmax(torch.randn(4, 3), -1)
    assert loss_of("cross_entropy", logits, soft) == pytest.approx(float(F.cross_entropy(logits, soft)), rel=1e-5)


def test_an_output_of_probabilities_or_their_logarithms_gives_the_same_loss_as_its_logits() -> None:
    logits, labels = torch.randn(6, 3), torch.randint(0, 3, (6,))
    expected = loss_of("cross_entropy", logits, labels)
    assert loss_of("cross_entropy", logits.softmax(-1), labels, "probabilities") == pytest.approx(expected, rel=1e-5)
    assert loss_of("cross_entropy", logits.log_softmax(-1), labels, "log_probabilities") == pytest.approx(expected, rel=1e-5)
    assert loss_of("nll", logits.log_softmax(-1), labels) == pytest.approx(expected, rel=1e-5)


def test_a_probability_of_zero_gives_a_large_and_finite_loss() -> None:
    assert 50 < loss_of("cross_entropy", torch.tensor([[1.0, 0.0]]), torch.tensor([1]), "probabilities") < 100


@pytest.mark.parametrize("ending", ["logits = Softmax <axis: int = -1> (z)", "logits = LogSoftmax <axis: int = -1> (z)"])
def test_the_programs_last_operator_says_what_its_output_is(ending: str) -> None:
    x, labels = torch.randn(5, CLASSES), torch.randint(0, CLASSES, (5,))
    given = x.softmax(-1) if "LogSoftmax" not in ending else x.log_softmax(-1)
    plain = batch_loss("cross_entropy", classifier())({"logits": x}, {"labels": labels}).total
    ended = batch_loss("cross_entropy", classifier(ending=ending))({"logits": given}, {"labels": labels}).total
    assert float(ended) == pytest.approx(float(plain), rel=1e-5)


def test_a_softmax_is_seen_through_a_reshape_and_a_cast() -> None:
    program = classifier(ending="s = Softmax (z)\n d = Cast <to: int = 11> (s)\n logits = Cast <to: int = 1> (d)")
    x, labels = torch.randn(5, CLASSES), torch.randint(0, CLASSES, (5,))
    expected = F.cross_entropy(x, labels)
    assert float(batch_loss("cross_entropy", program)({"logits": x.softmax(-1)}, {"labels": labels}).total) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_mse_and_l1_are_means_over_all_numbers_and_broadcast_nothing() -> None:
    output, labels = torch.randn(4, 1), torch.randn(4)
    difference = output[:, 0] - labels
    assert loss_of("mse", output, labels) == pytest.approx(float(difference.square().mean()), rel=1e-5)
    assert loss_of("l1", output, labels) == pytest.approx(float(difference.abs().mean()), rel=1e-5)
    with pytest.raises(DataError, match=r"\[4\].*\[4, 2\]"):
        loss_of("mse", torch.randn(4, 2), labels)


def test_cosine_is_zero_for_the_same_direction_and_two_for_the_opposite() -> None:
    rows = torch.randn(3, 2, 5)
    assert loss_of("cosine", rows, 2 * rows) == pytest.approx(0, abs=1e-6)
    assert loss_of("cosine", rows, -rows) == pytest.approx(2, abs=1e-6)


def test_bce_goes_by_logits_or_by_the_probabilities_of_a_sigmoid() -> None:
    logits, labels = torch.randn(4, 2), torch.randint(0, 2, (4, 2))
    p = torch.sigmoid(logits)
    expected = float(-(labels * p.log() + (1 - labels) * (1 - p).log()).mean())
    assert loss_of("bce", logits, labels) == pytest.approx(expected, rel=1e-4)
    assert loss_of("bce", p, labels, "probabilities") == pytest.approx(expected, rel=1e-4)


def test_ctc_of_one_frame_for_each_label_is_their_probability() -> None:
    logits = torch.randn(2, 3, 5)
    labels = torch.tensor([[1, 2, 3], [4, 2, -1]])
    log_p = logits.log_softmax(-1)
    first = -(log_p[0, 0, 1] + log_p[0, 1, 2] + log_p[0, 2, 3]) / 3
    paths = [(4, 2, 2), (4, 4, 2), (4, 2, 0), (4, 0, 2), (0, 4, 2)]
    second = -torch.logsumexp(torch.stack([sum((log_p[1, t, c] for t, c in enumerate(path)), torch.tensor(0.0)) for path in paths]), 0) / 2
    assert loss_of("ctc", logits, labels) == pytest.approx(float((first + second) / 2), rel=1e-5)
    assert loss_of("ctc", logits.transpose(0, 1), labels) == pytest.approx(float((first + second) / 2), rel=1e-5)
    assert loss_of("ctc", logits.softmax(-1), labels, "probabilities") == pytest.approx(float((first + second) / 2), rel=1e-4)


def test_ctc_names_a_row_whose_labels_do_not_fit_its_frames() -> None:
    with pytest.raises(DataError, match=r"Row 1 has 3 labels \(and 1 repeats\), and only 3 frames"):
        loss_of("ctc", torch.randn(2, 3, 5), torch.tensor([[1, 2, 3], [2, 2, 3]]))
    with pytest.raises(DataError, match="only 2 frames"):
        loss_of("ctc", torch.randn(2, 3, 5), torch.tensor([[1, 2, 3], [2, -1, -1]]), lengths=torch.tensor([2, 3]))


def test_class_indexes_of_the_wrong_shape_are_refused_with_both_shapes() -> None:
    with pytest.raises(DataError, match=r"\[5\].*\[4, 3\]"):
        loss_of("cross_entropy", torch.randn(4, 3), torch.zeros(5, dtype=torch.long))


def both(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
    """Two parts as a user would write them."""
    return F.cross_entropy(outputs["kind"], batch["labels_kind"]) + 0.5 * F.mse_loss(outputs["place"], batch["labels_place"])


WAYS: dict[str, LossLike] = {
    "by output": {"kind": "cross_entropy", "place": ("mse", 0.5)},
    "terms": [Term("cross_entropy", "kind", "labels_kind"), Term("mse", "place", weight=0.5)],
    "function": both,
}


@pytest.mark.parametrize("loss", WAYS.values(), ids=WAYS)
def test_several_outputs_add_up_by_weight(loss: LossLike) -> None:
    outputs = {"kind": torch.randn(4, 3), "place": torch.randn(4, 2)}
    batch = {"x": torch.zeros(4, 8), "labels_kind": torch.randint(0, 3, (4,)), "labels_place": torch.randn(4, 2)}
    expected = both(outputs, batch)
    found = batch_loss(loss, two_headed())(outputs, batch)
    assert float(found.total) == pytest.approx(float(expected), rel=1e-6)
    if not callable(loss):
        assert float(sum(found.parts.values())) == pytest.approx(float(expected), rel=1e-6)


def test_labels_of_tuples_go_by_the_order_of_the_parts() -> None:
    outputs = {"kind": torch.randn(4, 3), "place": torch.randn(4, 2)}
    batch = {"x": torch.zeros(4, 8), "labels_0": torch.randint(0, 3, (4,)), "labels_1": torch.randn(4, 2)}
    expected = F.cross_entropy(outputs["kind"], batch["labels_0"]) + F.mse_loss(outputs["place"], batch["labels_1"])
    assert float(batch_loss({"kind": "cross_entropy", "place": "mse"}, two_headed())(outputs, batch).total) == pytest.approx(
        float(expected)
    )


def test_one_loss_takes_the_only_thing_that_is_no_input_for_labels() -> None:
    outputs, answers = {"logits": torch.randn(4, 3)}, torch.randint(0, 3, (4,))
    batch = {"x": torch.zeros(4, 8), "answers": answers}
    found = batch_loss("cross_entropy", classifier())(outputs, batch)
    assert float(found.total) == pytest.approx(float(F.cross_entropy(outputs["logits"], answers)))
    with pytest.raises(DataError, match=r"no labels for 'logits'.*answers, weights"):
        batch_loss("cross_entropy", classifier())(outputs, {**batch, "weights": torch.ones(4)})


@pytest.mark.parametrize(
    ("loss", "message"),
    [("crossentropy", "no loss named crossentropy"), (Term("mse", "boxes"), "no output 'boxes'")],
)
def test_unknown_losses_and_outputs_are_refused(loss: LossLike, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        batch_loss(loss, classifier())


def test_a_function_must_give_one_number() -> None:
    with pytest.raises(TrainingError, match=r"tensor of shape \[4\]"):
        batch_loss(lambda outputs, batch: outputs["logits"].sum(1), classifier())({"logits": torch.randn(4, 3)}, {})


def test_a_loss_describes_itself() -> None:
    assert describe_loss("mse") == "mse(first output, labels)"
    assert describe_loss({"kind": "cross_entropy", "place": ("mse", 0.5)}) == "cross_entropy(kind, labels), 0.5 mse(place, labels)"
