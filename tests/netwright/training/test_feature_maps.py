"""The penalty on feature maps: what it measures, what it refuses, and that training with it makes maps sparser at equal steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.program import Program
from netwright.passes import Context, Pipeline, run
from netwright.training import Distill, FeatureMapPenalty
from netwright.training.errors import TrainingError
from netwright.training.feature_maps import TITLE, MapPenalties
from netwright.training.history import HISTORY, History
from netwright.training.objective import Loss
from tests.netwright.training.encoders import encoder, sentences

MAPS = ("q0", "k0", "v0", "r0")


def measured(norm: str, values: np.ndarray, where: str = "key") -> float:
    penalties = MapPenalties(encoder(layers=1), [FeatureMapPenalty(where, 1.0, norm)])  # type: ignore[arg-type]
    given = {name: torch.from_numpy(values.astype(np.float32)) for name in penalties.names}
    return float(penalties.added(Loss(torch.zeros(())), given).total)


def test_hoyer_and_entropy_do_not_depend_on_the_scale_and_l1_does() -> None:
    values = np.random.default_rng(0).normal(size=(4, 6, 16))
    for norm in ("hoyer", "entropy"):
        assert measured(norm, 100 * values) == pytest.approx(measured(norm, values), rel=1e-4)
    assert measured("l1", 100 * values) == pytest.approx(100 * measured("l1", values), rel=1e-4)


def test_hoyer_and_entropy_go_from_one_for_equal_values_to_the_least_for_a_single_one() -> None:
    equal, single = np.ones((1, 1, 16)), np.zeros((1, 1, 16))
    single[..., 3] = -2.0
    assert measured("hoyer", equal) == pytest.approx(1.0)
    assert measured("hoyer", single) == pytest.approx(1 / 16)
    assert measured("entropy", equal) == pytest.approx(1.0)
    assert measured("entropy", single) == pytest.approx(0.0, abs=1e-6)


def test_l1_of_a_softmax_is_refused_and_the_others_are_not() -> None:
    with pytest.raises(TrainingError, match="sum up to 1"):
        MapPenalties(encoder(), [FeatureMapPenalty("softmax", norm="l1")])
    assert len(MapPenalties(encoder(), [FeatureMapPenalty("softmax", norm="entropy")]).names) == 2
    with pytest.raises(TrainingError, match="keeps its softmax to itself"):
        MapPenalties(encoder(operator=True), [FeatureMapPenalty("softmax")])


@pytest.mark.parametrize("options", [{"norm": "l3"}, {"weight": 0.0}, {"weight": float("nan")}])
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(TrainingError):
        FeatureMapPenalty(**options)  # type: ignore[arg-type]


def test_a_penalty_alone_is_nothing_to_learn_and_beside_a_compressor_it_is_refused() -> None:
    rows = sentences()
    with pytest.raises(TrainingError, match="nothing to minimise"):
        nw.train(encoder(), {"ids": rows["ids"]}, feature_maps=FeatureMapPenalty())
    with pytest.raises(TrainingError, match="does not go with a compressor"):
        nw.train(encoder(), {"ids": rows["ids"]}, feature_maps=FeatureMapPenalty(), compressor="quantize(bits=4)")


def spread(program: Program) -> float:
    """Mean Hoyer measure of the first layer's maps."""
    values = OrtExecutor().run(program, {"ids": sentences()["ids"][:64]}, MAPS)
    return float(np.mean([np.mean(np.abs(one)) ** 2 / np.mean(one**2) for one in values.values()]))


@pytest.mark.parametrize("operator", [False, True])
def test_with_the_penalty_maps_are_sparser_than_after_the_same_steps_without(operator: bool) -> None:
    program = encoder(operator=operator)
    rows = {"ids": sentences()["ids"]}
    both = [
        nw.train(program, rows, teacher=program, distill=Distill(outputs="mse"), feature_maps=penalty, steps=40, lr=3e-3, threads=1)
        for penalty in (None, FeatureMapPenalty(weight=3.0))
    ]
    without, with_ = map(spread, both)
    assert with_ < without - 0.05
    history = both[1].resources[HISTORY]
    assert isinstance(history, History)
    assert np.mean(history.losses[-8:]) < np.mean(history.losses[:8])


def test_recover_takes_it_in_a_pipeline_and_behind_thresholds() -> None:
    program = encoder()
    rows = [{"ids": sentences()["ids"][:64]}] * 30
    text = "sparsify_activations(threshold=0.05), recover(epochs=1, lr=0.003, distill=True, feature_maps={'where': 'all', 'weight': 3.0})"
    assert str(Pipeline.parse(text)) == str(Pipeline.parse(str(Pipeline.parse(text))))
    outcome = run(program, Pipeline.parse(text), Context(training=rows, original=program, threads=1))
    assert outcome.rows[1].actions == 1
    assert spread(outcome.program) < spread(program) - 0.02
    with pytest.raises(TrainingError, match="no option wheight"):
        Pipeline.parse("recover(distill=True, feature_maps={'wheight': 1})")


def test_the_part_of_the_penalty_is_told_beside_the_others() -> None:
    from netwright.training.labelled import LabelledObjective

    rows = sentences()
    objective = LabelledObjective(encoder(), "cross_entropy", penalties=[FeatureMapPenalty(("key", "value"), 0.5)])
    batch = {"ids": torch.from_numpy(rows["ids"][:8]), "labels": torch.from_numpy(rows["labels"][:8])}
    found = objective.loss(objective.module, batch, 0)
    assert list(found.parts) == ["loss", TITLE]
    assert float(found.total.detach()) == pytest.approx(sum(map(float, found.parts.values())), rel=1e-5)
    assert "0.5 hoyer(key, value) on 4 feature maps" in objective.describe()
