"""Zoo models with zeros in their weights, trained again with those zeros kept, and made integers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import netwright as nw
from benchmarks._cim_models import PIPELINE
from benchmarks.finetune import RECIPES
from benchmarks.zoo import zoo
from benchmarks.zoo.sessions import open_session
from netwright.ir.opinfo import int_attr
from netwright.ir.program import Program, array
from netwright.ir.zeros import keeps_zeros, with_kept_zeros, zeros_kept

Pruner = Callable[[np.ndarray], np.ndarray]
"""What is kept of a weight [outputs, inputs, …]."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """A model with zeros in its weights, and what each step made of its metric.

    Attributes:
        program: of integers.
        whole: the metric before pruning.
        damaged: after pruning.
        trained: after training again; that after pruning, where the weights were left whole.
        integers: after quantization, off the chip.
    """

    program: Program
    whole: float
    damaged: float
    trained: float
    integers: float


def magnitude(share: float) -> Pruner:
    """The largest elements anywhere."""

    def keep(weight: np.ndarray) -> np.ndarray:
        return np.abs(weight) > np.quantile(np.abs(weight), share)

    return keep


def two_of_four(weight: np.ndarray) -> np.ndarray:
    """Of four consecutive inputs the two largest."""
    flat = np.moveaxis(weight, 1, -1).reshape(-1, weight.shape[1])
    if weight.shape[1] % 4:
        return np.ones(weight.shape, bool)
    fours = np.abs(flat).reshape(-1, 4)
    kept = np.argsort(np.argsort(-fours, axis=1), axis=1) < 2
    shape = np.moveaxis(weight, 1, -1).shape
    return np.moveaxis(kept.reshape(shape), -1, 1)


def blocks(share: float, outputs: int = 16) -> Pruner:
    """For each `outputs` outputs, taken as they are alike, the inputs of largest norm: what block pruning for crossbars leaves."""

    def keep(weight: np.ndarray) -> np.ndarray:
        norms = np.sqrt((weight.reshape(*weight.shape[:2], -1) ** 2).sum(axis=2))
        kept = np.zeros(norms.shape, bool)
        order = np.argsort(norms.argmax(axis=1), kind="stable")
        count = max(1, round(weight.shape[1] * (1.0 - share)))
        for first in range(0, len(order), outputs):
            some = order[first : first + outputs]
            kept[np.ix_(some, np.argsort(-norms[some].sum(axis=0))[:count])] = True
        return np.broadcast_to(kept.reshape(*kept.shape, *[1] * (weight.ndim - 2)), weight.shape)

    return keep


def channels(share: float) -> Pruner:
    """Outputs of largest norm; the others are 0 and stay where they are."""

    def keep(weight: np.ndarray) -> np.ndarray:
        norms = np.abs(weight.reshape(len(weight), -1)).sum(axis=1)
        kept = norms > np.quantile(norms, share)
        return np.broadcast_to(kept.reshape(-1, *[1] * (weight.ndim - 1)), weight.shape)

    return keep


PRUNERS: dict[str, Pruner] = {
    "dense": lambda weight: np.ones(weight.shape, bool),
    "80 % anywhere": magnitude(0.8),
    "95 % anywhere": magnitude(0.95),
    "2:4": two_of_four,
    "block 50 %": blocks(0.5),
    "block 75 %": blocks(0.75),
    "channels 50 %": channels(0.5),
}


def pruned(name: str, keep: Pruner, *, steps: int, quick: bool = False) -> Pruned:
    """A zoo model with zeros in its convolutions and products (first and last left whole), trained again, as integers.

    The zeros are marked as meant, so that training keeps them (`ir.zeros`).

    Args:
        name: of a model that `benchmarks.finetune` has data for.
        keep: what stays of each weight; a model that stays whole is not trained.
        steps: of training, on the recipe's batches.
        quick: score on a part of the evaluation data.
    """
    recipe = replace(RECIPES[name], steps=steps)
    whole = nw.load(zoo[name].onnx())
    program = _with_zeros(whole, keep)
    again = program
    if zeros_kept(program):
        again = nw.train(
            program, lambda: recipe.batches(0, labelled=True), loss="cross_entropy", steps=recipe.steps, lr=recipe.lr, seed=0, threads=1
        )
        _assert_kept(program, again)
    result = nw.compile(again, PIPELINE, calibration=zoo[name].feeds(16), latency=False, threads=1).program
    return Pruned(result, *(scored(name, one, quick=quick) for one in (whole, program, again, result)))


def scored(name: str, program: Program, *, quick: bool) -> float:
    """The model's own metric, run by ONNX Runtime."""
    model = zoo[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        nw.save(program, path)
        return model.evaluate(open_session(path), quick=quick).metrics[model.primary]


def _with_zeros(whole: Program, keep: Pruner) -> Program:
    program = whole.clone()
    sites = [node for node in program.nodes("Conv", "Gemm", "MatMul") if (w := array(node.inputs[1])) is not None and w.ndim >= 2]
    for node in sites[1:-1]:
        value, weight = node.inputs[1], array(node.inputs[1])
        assert value is not None, "sites have weights"
        assert weight is not None, "sites have weights"
        turned = node.op_type != "Conv" and not int_attr(node, "transB", 0)
        mask = keep(weight.T).T if turned else keep(weight)
        if mask.all():
            continue
        with program.edit(at=node) as editor:
            editor.set_constant(value, with_kept_zeros((weight * mask).astype(weight.dtype), value.name or ""))
    return program


def _assert_kept(before: Program, after: Program) -> None:
    """Training left no zero of a pruned weight anything else, and moved the others."""
    moved = False
    for value in before.initializers():
        old, new = array(value), array(after.value(value.name or ""))
        assert old is not None, "initializers are constant"
        assert new is not None, "training keeps initializers' names"
        moved |= bool((old != new).any())
        if keeps_zeros(value) and new[old == 0].any():
            raise AssertionError(f"training filled zeros of {value.name}")
    if not moved:
        raise AssertionError("training moved nothing")
