"""Each criterion against its formula written out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.coupling import Group
from netwright.ir.errors import ContractError, PipelineError, UnsupportedModelError
from netwright.passes import Context
from netwright.passes.prune.importance import CRITERIA, Evidence, criterion_needs, normalised, scores
from netwright.training.objective import TorchBatch
from netwright.training.terms import Outputs
from tests.passes.prune.importance.support import context, conv_net, conv_weights, drawn, groups_of, judged, only, two_layers

WEIGHTS = drawn(0, w1=(4, 6), b1=(6,), w2=(6, 3))
ROWS = [{"x": array} for array in drawn(5, a=(16, 4), b=(16, 4), c=(8, 4)).values()]


def test_magnitudes_are_means_over_tensors() -> None:
    w1, b1, w2 = (WEIGHTS[name].astype(np.float64) for name in ("w1", "b1", "w2"))
    l1 = (np.abs(w1).sum(0) + np.abs(b1) + np.abs(w2).sum(1)) / 3
    l2 = (np.sqrt((w1**2).sum(0)) + np.abs(b1) + np.sqrt((w2**2).sum(1))) / 3
    np.testing.assert_allclose(only(judged(two_layers(WEIGHTS), "l1")), l1, rtol=1e-6)
    np.testing.assert_allclose(only(judged(two_layers(WEIGHTS), "l2")), l2, rtol=1e-6)


def test_statistics_do_not_count() -> None:
    weights = conv_weights()
    moved = {**weights, "mean": weights["mean"] + 5, "var": weights["var"] * 9}
    np.testing.assert_array_equal(only(judged(conv_net(weights), "l1")), only(judged(conv_net(moved), "l1")))


def test_bn_scale_is_the_size_of_gamma() -> None:
    weights = conv_weights()
    np.testing.assert_allclose(only(judged(conv_net(weights), "bn_scale")), np.abs(weights["gamma"]), rtol=1e-6)


def test_what_does_not_apply_is_scored_by_l2_and_said() -> None:
    found = judged(two_layers(WEIGHTS), "bn_scale")
    np.testing.assert_array_equal(only(found), only(judged(two_layers(WEIGHTS), "l2")))
    (miss,) = found.misses
    assert miss.site == groups_of(two_layers(WEIGHTS))[0].name
    assert miss.reason.startswith("scored by l2: no batch norm scales its units (simplify folds them into convolutions")
    assert "queries, keys and values are those of heads" in judged(two_layers(WEIGHTS), "qkv").misses[0].reason


def squares(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
    """A loss of which each row's share is its own."""
    return (outputs["y"] - batch["t"]).square().sum(1).mean()


def training() -> list[dict[str, np.ndarray]]:
    return [{"x": rows["x"], "t": drawn(9, t=(len(rows["x"]), 3))["t"]} for rows in ROWS]


def by_hand(weights: Mapping[str, np.ndarray], batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gradients of `squares` on torch."""
    w = {name: torch.tensor(array, dtype=torch.float64, requires_grad=True) for name, array in weights.items()}
    x, t = (torch.tensor(batch[name], dtype=torch.float64) for name in ("x", "t"))
    y = torch.relu(x @ w["w1"] + w["b1"]) @ w["w2"]
    (y - t).square().sum(1).mean().backward()
    return {name: tensor.grad.numpy() for name, tensor in w.items() if tensor.grad is not None}


def test_taylor_sums_within_units_and_averages_sizes_over_small_batches() -> None:
    pieces = [{name: array[at : at + 8] for name, array in batch.items()} for batch in training() for at in range(0, len(batch["x"]), 8)]
    expected = np.zeros(6)
    for piece in pieces:
        gradients = by_hand(WEIGHTS, piece)
        products = {name: WEIGHTS[name] * gradient for name, gradient in gradients.items()}
        expected += np.abs(products["w1"].sum(0) + products["b1"] + products["w2"].sum(1)) / 2 / len(pieces)
    found = judged(two_layers(WEIGHTS), "taylor", context(training=training(), loss=squares))
    np.testing.assert_allclose(only(found), expected, rtol=1e-4)
    assert found.comparable


def test_taylor_is_what_the_loss_changes_by_when_a_unit_shrinks_a_little() -> None:
    """Of one small batch: a unit whose rows and columns are both 1 − ε of what they were changes the loss by 2 ε times its score."""
    rows = {name: array[:4] for name, array in training()[0].items()}
    found = only(judged(two_layers(WEIGHTS), "taylor", context(training=[rows], loss=squares)))

    def loss(scale: np.ndarray) -> float:
        hidden = np.maximum(rows["x"].astype(np.float64) @ (WEIGHTS["w1"] * scale) + WEIGHTS["b1"] * scale, 0)
        return float(((hidden @ (WEIGHTS["w2"].T * scale).T - rows["t"]) ** 2).sum(1).mean())

    for unit in range(6):
        step = np.ones(6)
        step[unit] -= 1e-5
        np.testing.assert_allclose(abs(loss(step) - loss(np.ones(6))) / 2e-5, found[unit], rtol=1e-2, atol=1e-4)


def test_hessian_is_half_the_fisher_diagonal_times_squares() -> None:
    rows = [{name: array[at : at + 1] for name, array in batch.items()} for batch in training() for at in range(len(batch["x"]))]
    expected = np.zeros(6)
    for row in rows:
        terms = {name: (WEIGHTS[name] * gradient) ** 2 / 2 / len(rows) for name, gradient in by_hand(WEIGHTS, row).items()}
        expected += terms["w1"].sum(0) + terms["b1"] + terms["w2"].sum(1)
    found = judged(two_layers(WEIGHTS), "hessian", context(training=training(), loss=squares))
    np.testing.assert_allclose(only(found), expected, rtol=1e-4)


def test_activation_is_what_units_add_to_their_consumers() -> None:
    hidden = np.concatenate([np.maximum(rows["x"] @ WEIGHTS["w1"] + WEIGHTS["b1"], 0) for rows in ROWS]).astype(np.float64)
    energy = (hidden**2).mean(0) * (WEIGHTS["w2"].astype(np.float64) ** 2).sum(1)
    np.testing.assert_allclose(only(judged(two_layers(WEIGHTS), "activation", context(ROWS))), np.sqrt(energy / energy.sum()), rtol=1e-5)


def test_activation_of_convolutions_counts_every_tap() -> None:
    program, weights = conv_net(conv_weights()), conv_weights()
    x = drawn(3, x=(4, 2, 6, 6))
    r = OrtExecutor().run(program, x, ["r"])["r"].astype(np.float64)
    energy = (r**2).mean((0, 2, 3)) * (weights["w2"].astype(np.float64) ** 2).sum((0, 2, 3))
    np.testing.assert_allclose(only(judged(program, "activation", context([x]))), np.sqrt(energy / energy.sum()), rtol=1e-5)


def test_random_depends_on_the_seed_alone() -> None:
    first, again = (only(judged(two_layers(WEIGHTS), "random", Context(seed=3))) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != only(judged(two_layers(WEIGHTS), "random", Context(seed=4)))).any()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_dead_units_score_nothing_and_others_something(criterion: str) -> None:
    """Unit 2 has no row and no bias, though its consumer has large weights."""
    weights = {name: array.copy() for name, array in WEIGHTS.items()}
    weights["w1"][:, 2], weights["b1"][2], weights["w2"][2] = 0, 0, 100
    found = only(judged(two_layers(weights), criterion, context(ROWS, training=training(), loss=squares)))
    assert found[2] == 0
    assert (np.delete(found, 2) > 0).all()


def test_a_function_judges_by_evidence() -> None:
    def bias(group: Group, evidence: Evidence) -> np.ndarray:
        return evidence.sums(group, group.producing[1], np.abs(evidence.weight("b1")))

    np.testing.assert_allclose(only(judged(two_layers(WEIGHTS), bias)), np.abs(WEIGHTS["b1"]), rtol=1e-6)


def wrong_shape(group: Group, evidence: Evidence) -> np.ndarray:
    del evidence
    return np.ones(group.size + 1)


def not_finite(group: Group, evidence: Evidence) -> np.ndarray:
    del evidence
    return np.full(group.size, np.nan)


@pytest.mark.parametrize(("judge", "message"), [(wrong_shape, r"scores of shape \[7\] for 6 units"), (not_finite, "not finite for 6")])
def test_what_a_function_gives_is_checked(judge: object, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        judged(two_layers(WEIGHTS), judge)


@pytest.mark.parametrize(
    ("criterion", "given", "message"),
    [
        ("taylor", {"loss": squares}, "training data with labels"),
        ("hessian", {"training": training()}, "a loss"),
        ("activation", {}, "calibration data"),
        ("reconstruction", {}, "calibration data"),
    ],
)
def test_what_is_missing_is_said(criterion: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        judged(two_layers(WEIGHTS), criterion, context(**given))  # type: ignore[arg-type]


def test_needs_are_known_beforehand() -> None:
    assert criterion_needs("l2") == frozenset()
    assert criterion_needs("taylor") == {"training", "loss"}
    assert criterion_needs("activation") == {"calibration"}
    with pytest.raises(PipelineError, match="no criterion 'l3'"):
        criterion_needs("l3")


def test_scores_are_the_same_every_time() -> None:
    program = two_layers(WEIGHTS)
    for criterion in CRITERIA:
        first, again = (scores(program, context(ROWS, training=training(), loss=squares), groups_of(program), criterion) for _ in range(2))
        assert all((first[name] == again[name]).all() for name in first)


def test_normalised_scores_compare_groups() -> None:
    program = conv_net(conv_weights())
    (group,) = groups_of(program)
    raw = {group.name: np.array([0.0, 1, 2, 3, 4])}
    np.testing.assert_allclose(normalised(raw, [group])[group.name], raw[group.name] / 2)
    by_params = normalised(raw, [group], per="params")[group.name]
    np.testing.assert_allclose(by_params, raw[group.name] / 2 / group.params)
    absolute = normalised(raw, [group], per="macs", relative=False)[group.name]
    np.testing.assert_allclose(absolute, raw[group.name] / group.macs)
    assert absolute[0] == 0
