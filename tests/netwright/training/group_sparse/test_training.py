"""Whole runs: units become zero, `prune` takes them out, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.backends.onnxruntime import OrtExecutor
from netwright.data import DataLike
from netwright.ir.coupling import coupling
from netwright.ir.program import Program
from netwright.training import train
from netwright.training.errors import TrainingError
from netwright.training.group_sparse import DhspgSettings, zero_units
from netwright.training.objective import TorchBatch
from netwright.training.optimizers import OptimizerTask
from netwright.training.options import TrainOptions
from netwright.training.terms import Outputs
from tests.netwright.training.group_sparse.models import attention, conv_net, frames, lstm, rows_for
from tests.netwright.training.support import classifier, labelled_rows, same_weights, weights_of

KINDS = ("hspg", "dhspg", "hesso", "group_lasso")


def data_for(make: Callable[[], Program]) -> DataLike:
    return frames() if make is lstm else rows_for(make())


def some_rows(make: Callable[[], Program]) -> np.ndarray:
    return frames(1, 8, seed=9)[0]["x"] if make is lstm else rows_for(make(), 8, seed=9)["x"]


def run(make: Callable[[], Program], optimizer: str, *, steps: int = 40, sparsity: float = 0.5) -> Program:
    batch = None if make is lstm else 32
    return train(
        make(),
        data_for(make),
        loss="cross_entropy",
        optimizer=optimizer,
        sparsity=sparsity,
        steps=steps,
        lr=5e-3,
        batch_size=batch,
        threads=1,
    )


def zeros_of(program: Program) -> dict[str, tuple[int, ...]]:
    groups = [group for group in program.fact(coupling).groups if not group.frozen]
    return {one.group: one.zero for one in zero_units(program, groups)}


@pytest.mark.parametrize("make", [conv_net, lstm, attention])
@pytest.mark.parametrize("kind", KINDS)
def test_what_training_made_zero_is_taken_out_and_the_outputs_stay(kind: str, make: Callable[[], Program]) -> None:
    trained = run(make, f"{kind}(round_to=4)")
    zeros = zeros_of(trained)
    whole = sum(group.size for group in trained.fact(coupling).groups if group.name in zeros and group.kind != "head_dim")
    gone = sum(len(units) for name, units in zeros.items() if trained.fact(coupling).group(name).kind != "head_dim")
    assert 0.5 * whole - 4 < gone <= 0.5 * whole
    pruned = nw.compile(trained, "prune(threshold=0)").program
    sizes = {group.name: group.size for group in make().fact(coupling).groups}
    for group in pruned.fact(coupling).groups:
        if group.kind != "head_dim":
            assert group.size == sizes[group.name] - len(zeros.get(group.name, ()))
    x = {"x": some_rows(make)}
    before, after = (next(iter(OrtExecutor().run(one, x).values())) for one in (trained, pruned))
    assert np.abs(before).max() > 0.1
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_groups_that_are_frozen_or_excluded_are_only_trained() -> None:
    trained = run(conv_net, "dhspg(exclude=('c',), round_to=1)", sparsity=0.75)
    found = zeros_of(trained)
    assert found == {"c": (), "h": found["h"]}
    assert len(found["h"]) == 18
    assert not same_weights(trained, conv_net())


def test_heads_go_as_a_whole_where_all_may_go_and_lose_features_where_channels_are_asked_for() -> None:
    heads = zeros_of(run(attention, "hesso(scope='heads')"))
    assert len(heads["q0:heads"]) == 2
    assert not heads["h0"]
    features = zeros_of(run(attention, "hesso(scope='channels', round_to=2)"))
    assert len(features["q0"]) + len(features["v0"]) == 8
    assert not features["q0:heads"]


class Stopped(Exception):
    """Ends a run from inside."""


@pytest.mark.parametrize(("kind", "crash_at"), [("hspg", 6), ("dhspg", 12), ("hesso", 9), ("group_lasso", 21)])
def test_a_run_that_crashed_is_resumed_bit_for_bit(tmp_path: Path, kind: str, crash_at: int) -> None:
    rows = labelled_rows(128)

    def once(folder: Path | None, at: int | None, *, resume: bool = False) -> Program:
        calls = [0]

        def loss(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
            calls[0] += 1
            if calls[0] == at:
                raise Stopped
            return torch.nn.functional.cross_entropy(outputs["logits"], batch["labels"])

        return train(
            classifier(dropout=True),
            rows,
            loss=loss,
            optimizer=f"{kind}(round_to=2, begin=0.2)",
            sparsity=0.5,
            epochs=3,
            lr=1e-2,
            batch_size=16,
            checkpoint=folder,
            checkpoint_every=None if folder is None else 1,
            resume=resume,
            threads=1,
        )

    whole = once(None, None)
    with pytest.raises(Stopped):
        once(tmp_path, crash_at)
    assert same_weights(once(tmp_path, None, resume=True), whole)
    assert sum(not column.any() for column in weights_of(whole)["w1"].T) == 8


def test_the_best_epoch_is_one_of_those_that_have_the_zeros() -> None:
    rows = labelled_rows(128)
    trained = train(
        classifier(),
        rows,
        loss="cross_entropy",
        optimizer="dhspg(round_to=1)",
        sparsity=0.75,
        epochs=6,
        lr=1e-2,
        batch_size=16,
        metric="accuracy",
        validation=rows,
        threads=1,
    )
    assert sum(not column.any() for column in weights_of(trained)["w1"].T) == 12


def test_toward_a_teacher_without_labels() -> None:
    program = classifier()
    rows = {"x": labelled_rows(128)["x"]}
    trained = train(
        program, rows, teacher=program, optimizer="hesso(round_to=1)", sparsity=0.5, steps=30, batch_size=16, lr=1e-2, threads=1
    )
    assert sum(not column.any() for column in weights_of(trained)["w1"].T) == 8


def test_in_a_pipeline_the_action_names_the_zero_units_and_what_stays_whole_is_a_miss() -> None:
    result = nw.compile(
        conv_net(),
        "prune_train(structured=True, sparsity=0.5, optimizer='hesso(round_to=4)', steps=20, lr=5e-3, batch_size=32), prune(threshold=0)",
        training=rows_for(conv_net()),
        loss="cross_entropy",
        threads=1,
    )
    action, *removals = result.program.ledger.actions
    left = {group.name: group.size for group in result.program.fact(coupling).groups}
    assert action.why.endswith(f"zero are %c {16 - left['c']} of 16 channels, %h {24 - left['h']} of 24 hidden units")
    assert left["c"] + left["h"] == 20
    assert len(removals) == 2
    assert {miss.reason for miss in result.program.ledger.misses if miss.site == "logits"} == {
        "left whole: %logits is an output of the model"
    }


def test_zero_units_stay_zero_through_further_training() -> None:
    pipeline = "prune_train(structured=True, sparsity=0.5, steps=20, lr=5e-3, batch_size=32), recover(steps=5, batch_size=32)"
    result = nw.compile(conv_net(), f"{pipeline}, prune(threshold=0)", training=rows_for(conv_net()), loss="cross_entropy", threads=1)
    assert sum(group.size for group in result.program.fact(coupling).groups if not group.frozen) == 24  # of 40, in steps of 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("structured=True, sparsity=0.5, optimizer=\"sparse(method='hard')\"", "zeroes single weights"),
        ("structured=True", "dhspg has no share of units to reach"),
        ("structured=True, sparsity=0.5, optimizer='hesso', penalty=0.1", "hesso has no option penalty"),
        ("structured=True, sparsity=2", "sparsity is 2"),
    ],
)
def test_a_pass_with_options_that_do_not_fit_is_refused(options: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        nw.compile(conv_net(), f"prune_train({options})", training=rows_for(conv_net()), loss="cross_entropy")


def test_a_program_without_units_that_can_go_is_refused_with_the_reasons() -> None:
    with pytest.raises(TrainingError, match=r"No unit of the program can go: .*m1 left whole: exclude names it"):
        train(classifier(), labelled_rows(32), loss="cross_entropy", optimizer="dhspg(exclude=('*1',))", sparsity=0.5, steps=2)


def test_split_weights_are_refused() -> None:
    with pytest.raises(TrainingError, match="dhspg needs whole weights"):
        train(classifier(), labelled_rows(32), loss="cross_entropy", optimizer="dhspg", sparsity=0.5, steps=2, shard=True)


def test_a_module_that_no_program_was_made_into_is_refused() -> None:
    module = torch.nn.Linear(3, 4)
    task = OptimizerTask(dict(module.named_parameters()), module, classifier(), 10, None, None, TrainOptions())
    with pytest.raises(TrainingError, match="nothing is known of its coupling groups"):
        DhspgSettings(sparsity=0.5).build(task)
