"""How long a step takes, and what is learnt in a given time."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.ir.errors import DataError
from netwright.ir.program import Program
from netwright.passes.context import Trainer
from netwright.training import trials
from netwright.training.errors import TrainingError
from netwright.training.options import TrainOptions
from netwright.training.trainer import TorchTrainer
from tests.netwright.training.support import classifier, labelled_rows, same_weights


def batches(count: int, size: int = 32) -> list[dict[str, np.ndarray]]:
    rows = labelled_rows(count * size)
    return [{name: array[at : at + size] for name, array in rows.items()} for at in range(0, count * size, size)]


def trainer() -> Trainer:
    return TorchTrainer(threads=1)


def test_a_step_of_a_wider_model_takes_longer_and_no_weight_changes() -> None:
    data = batches(2, 256)
    narrow, wide = classifier(hidden=16), classifier(hidden=8192)
    before = wide.clone()
    seconds = {name: trainer().step_time(program, data, loss="cross_entropy") for name, program in (("narrow", narrow), ("wide", wide))}
    assert 0 < seconds["narrow"] < seconds["wide"]
    assert same_weights(before, wide)


def test_a_trial_makes_the_steps_that_fit_and_says_what_was_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    def a_hundredth(*_: object, **__: object) -> float:
        return 0.01

    monkeypatch.setattr(trials, "step_time", a_hundredth)
    program, data = classifier(), batches(16)
    before = program.clone()
    found = [trainer().trial(program, data, loss="cross_entropy", seconds=seconds, lr=0.02) for seconds in (0.001, 0.1, 1.0)]
    assert [steps for _, steps in found] == [1, 10, 100]
    assert found[2][0] < 0.5 * found[0][0]
    assert found[1] == trainer().trial(program, data, loss="cross_entropy", seconds=0.1, lr=0.02)
    assert same_weights(before, program)


def test_the_loss_is_that_of_batches_held_out_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def a_tenth(*_: object, **__: object) -> float:
        return 0.1

    monkeypatch.setattr(trials, "step_time", a_tenth)
    data = batches(8)
    spoiled = [*data[:-1], {**data[-1], "labels": (data[-1]["labels"] + 1) % 3}]  # the eighth alone has wrong labels
    options = TrainOptions(lr=0.02, threads=1)

    def learnt(program: Program, given: list[dict[str, np.ndarray]]) -> float:
        return trials.trial(program, given, loss="cross_entropy", seconds=6, options=options)[0]

    assert learnt(classifier(), spoiled) > 2 * learnt(classifier(), data)
    assert learnt(classifier(), data[:7]) < 1.0


def test_no_time_and_no_data_are_refused() -> None:
    with pytest.raises(TrainingError, match="0 seconds"):
        trainer().trial(classifier(), batches(1), loss="cross_entropy", seconds=0)
    with pytest.raises(DataError, match="no batch"):
        trainer().step_time(classifier(), [], loss="cross_entropy")
