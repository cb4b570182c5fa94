"""Zeros made in netwright's loop: which tensors get them, that they are exact, and what a run's result is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.ir.program import Program
from netwright.ir.sparsity import share_of_zeros, transport, zeros_by_weight
from netwright.training import Stage, TrainingError, run_stages
from netwright.training.errors import CheckpointError
from netwright.training.objective import TorchBatch
from netwright.training.options import TrainOptions
from netwright.training.sparse import SparseSettings
from netwright.training.terms import Outputs
from tests.models.registry import traced
from tests.netwright.training.support import accuracy, classifier, history_of, labelled_rows, same_weights, weights_of

ROWS = labelled_rows()


def shares(program: Program) -> dict[str, float]:
    return {weight.name: weight.share for weight in zeros_by_weight(program)}


def trained(optimizer: str | SparseSettings = "sparse", **options: object) -> Program:
    given = {"loss": "cross_entropy", "epochs": 20, "lr": 2e-2, "threads": 1, **options}
    return nw.train(classifier(), ROWS, optimizer=optimizer, **given)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("text", ["sparse", "sparse(method='hard')", "sparse(base='momentum')"])
def test_a_share_of_zeros_is_reached_exactly_over_the_matrices_and_biases_have_none(text: str) -> None:
    program = trained(text, sparsity=0.6)
    zeros = {name: int((array == 0).sum()) for name, array in weights_of(program).items()}
    size = sum(array.size for array in weights_of(program).values() if array.ndim == 2)
    assert zeros["w1"] + zeros["w2"] >= 0.6 * size
    assert zeros["w1"] + zeros["w2"] <= 0.6 * size + 3
    assert zeros["b1"] == zeros["b2"] == 0
    assert accuracy(program, ROWS) > 0.75


def test_a_heavier_penalty_makes_more_zeros() -> None:
    light, heavy = (trained(penalty=penalty) for penalty in (0.3, 3.0))
    assert 0.05 < share_of_zeros(zeros_by_weight(light)) < share_of_zeros(zeros_by_weight(heavy)) - 0.1
    assert same_weights(trained("sparse(penalty=0.3)"), light)
    assert same_weights(trained(SparseSettings(penalty=0.3)), light)


def test_patterns_and_tensors_say_what_is_penalised() -> None:
    assert set(_zeroed(trained("sparse(where=('w1',))", sparsity=0.5))) == {"w1"}
    assert set(_zeroed(trained("sparse(exclude=('w1',))", sparsity=0.5))) == {"w2"}
    everything = trained("sparse(tensors='all')", penalty=3.0)
    assert {"w1", "b1"} <= set(_zeroed(everything))
    with pytest.raises(TrainingError, match=r"No tensor is called head\.\*.*There are"):
        trained("sparse(where=('head.*',))", sparsity=0.5)


def _zeroed(program: Program) -> list[str]:
    return [name for name, share in shares(program).items() if share > 0]


def test_biases_of_recurrent_layers_are_vectors_though_their_rank_is_two() -> None:
    program = nw.compile(traced("bi_lstm"), "simplify", latency=False).program
    first, *_ = program.nodes("LSTM")
    _, weight, recurrent, bias = (value.name or "" for value in first.inputs[:4] if value is not None)
    assert program.value(bias).shape == (2, 128)
    ids = {"ids": np.random.default_rng(0).integers(0, 53, (8, 7))}
    pruned = nw.train(program, ids, teacher=program, optimizer="sparse", sparsity=0.5, steps=4, threads=1)
    found = shares(pruned)
    assert found[bias] == 0
    assert found[weight] > 0.3
    assert found[recurrent] > 0.3


def test_the_result_is_an_epoch_that_has_the_zeros_however_well_earlier_ones_score() -> None:
    program = trained(sparsity=0.9, metric="accuracy", validation=ROWS, epochs=12)
    history = history_of(program)
    assert history.best is not None
    assert history.best >= 9, "of 96 steps the last 28 have no penalty: it ends in the ninth epoch"
    assert max(history.scores[:9]) > history.scores[history.best]
    found = [array for array in weights_of(program).values() if array.ndim == 2]
    assert sum((array == 0).sum() for array in found) >= 0.9 * sum(array.size for array in found)


class Stopped(Exception):
    """Ends a run from inside, as a crash would."""


@pytest.mark.parametrize("optimizer", ["sparse", "sparse(method='proximal', base='momentum')"])
def test_a_run_that_was_stopped_ends_with_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    def crashing(at: int | None) -> Callable[[Outputs, TorchBatch], torch.Tensor]:
        calls = [0]

        def loss(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
            calls[0] += 1
            if calls[0] == at:
                raise Stopped
            return torch.nn.functional.cross_entropy(outputs["logits"], batch["labels"])

        return loss

    options = {"sparsity": 0.7, "epochs": 3, "accumulate": 2}
    saved = {"checkpoint": tmp_path, "checkpoint_every": 1}
    whole = trained(optimizer, **options, loss=crashing(None))
    with pytest.raises(Stopped):
        trained(optimizer, **options, **saved, loss=crashing(15))
    assert same_weights(trained(optimizer, **options, **saved, resume=True, loss=crashing(None)), whole)
    with pytest.raises(CheckpointError, match=r"optimizer was .sparse\(sparsity=0\.7"):
        trained(optimizer, **{**options, "sparsity": 0.8}, **saved, resume=True, loss=crashing(None))


def test_a_stage_may_make_zeros_and_other_optimizers_have_no_penalty() -> None:
    stages = [Stage(epochs=2, loss="cross_entropy"), Stage(epochs=4, loss="cross_entropy", optimizer="sparse", sparsity=0.5)]
    dense, pruned = run_stages(stages, TrainOptions(lr=1e-2, threads=1), program=classifier(), data=ROWS)
    assert share_of_zeros(zeros_by_weight(dense.program)) == 0
    assert shares(pruned.program)["w1"] > 0.3


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        ("sparse", {}, r"neither a penalty nor a share of zeros to reach.*Give penalty=1e-3 .* or sparsity=0.9"),
        ("adamw", {"penalty": 1.0}, r"penalty was given, and the optimizer adamw has none.*optimizer='sparse'"),
        ("sgd", {"sparsity": 0.5}, "sparsity was given, and the optimizer sgd has none"),
        ("sparse(foo=1)", {"penalty": 1.0}, r"sparse has no option foo"),
        ("sparse(sparcity=0.5)", {}, r"Did you mean sparsity\?"),
        ("sparse(sparsity=0.8)", {"sparsity": 0.9}, r"sparsity is 0\.8 in the optimizer's settings and 0\.9 beside"),
        ("sparse(", {"penalty": 1.0}, "neither a name nor a call"),
        ("sparse(0.5)", {}, "neither a name nor a call"),
        ("adamw(betas=(0.9, 0.99))", {}, "adamw takes no options in parentheses"),
        ("sparse", {"penalty": 1.0, "shard": True}, r"needs whole weights.*Leave shard out"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(optimizer: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        trained(optimizer, **options)


def test_a_sparse_product_is_small_to_send_and_the_same_when_it_arrives(tmp_path: Path) -> None:
    program = nw.train(classifier(hidden=256), ROWS, loss="cross_entropy", epochs=8, lr=1e-2, optimizer="sparse", sparsity=0.9, threads=1)
    nw.save(program, tmp_path / "sent.onnx", sparse=True)
    found = transport(program)
    assert found.bytes == (tmp_path / "sent.onnx").stat().st_size
    assert found.bytes < 0.5 * found.dense_bytes
    assert same_weights(nw.load(tmp_path / "sent.onnx"), program)
    assert f"{found.bytes:,} bytes to send" in str(found)
