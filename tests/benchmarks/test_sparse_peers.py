"""The peers of the sparse optimizer do what they are said to do."""

from __future__ import annotations

import numpy as np

import netwright as nw
from benchmarks._sparse_peers import Gradual, Subgradient, cut, zeros
from benchmarks.sparse_optimizer import Found, rows, sent_bytes, verdict
from netwright.ir.program import Program
from netwright.training.options import OptimizerLike
from tests.netwright.training.support import classifier, labelled_rows, weights_of

STEPS = 40


def trained(optimizer: OptimizerLike) -> Program:
    return nw.train(classifier(), labelled_rows(), loss="cross_entropy", optimizer=optimizer, steps=STEPS, threads=1)


def test_the_cut_takes_the_smallest_weights_of_all_matrices_and_no_bias() -> None:
    program = classifier()
    before, after = weights_of(program), weights_of(cut(program, 0.5))
    assert zeros(program) == 0
    assert zeros(cut(program, 0.5)) == 0.5
    kept = np.concatenate([np.abs(before[name][after[name] != 0]) for name in ("w1", "w2")])
    gone = np.concatenate([np.abs(before[name][after[name] == 0]) for name in ("w1", "w2")])
    assert gone.max() <= kept.min()


def test_gradual_masks_end_at_their_share_and_a_subgradient_makes_no_zero() -> None:
    gradual = trained(Gradual(0.75, 1e-2, STEPS))
    assert zeros(gradual) == 0.75
    assert not any(np.signbit(array[array == 0]).any() for name, array in weights_of(gradual).items() if name in ("w1", "w2"))
    assert zeros(trained(Subgradient(1e-3, 1e-2))) == 0


def test_a_verdict_holds_what_is_promised_against_means_over_seeds() -> None:
    def found(method: str, seed: int, score: float, share: float, size: int) -> Found:
        return Found(method, seed, score, share, size, 1.0)

    table = rows(
        "task",
        [
            *(found("dense", seed, 0.90 + seed / 100, 0.0, 1000) for seed in range(2)),
            *(found("one-shot magnitude", seed, 0.85, 0.9, 200) for seed in range(2)),
            *(found("cumulative", seed, 0.89 + seed / 50, 0.9, 200) for seed in range(2)),
        ],
    )
    assert [row["worst seed"] for row in table] == [0, -6.0, -1.0]
    assert verdict("task", table) == {
        "task": "task",
        "zeros": 0.9,
        "points lost to dense": 0.5,
        "points won over one-shot": 5.0,
        "file, times smaller": 5.0,
        "held": True,
    }
    assert not verdict("task", table, least_zeros=0.95)["held"]
    assert sent_bytes(cut(classifier(), 0.5)) > 0
