"""Bias correction: a mean error that integers leave is taken out of biases, float or int32, and only where held-out data agrees."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.editor import Editor
from netwright.passes import Context, Miss, Rewrite, run
from netwright.passes.quantize import Quantize
from netwright.passes.quantize.correcting import correct_biases
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal


def network(*, bias: bool = True) -> Program:
    """Two products whose inputs have a mean, so that coarse weights shift what they make."""
    weights = {"w1": normal(64, 96, seed=1), "b1": normal(96, seed=2), "w2": normal(96, 64, seed=3), "b2": normal(64, seed=4)}
    behind = "y = Add (u, b2)" if bias else "y = Relu (u)"
    return program_of(
        f"""{HEAD} network (float[N, T, 64] x, WEIGHTS) => (float[N, T, 64] y)
        {{ t = MatMul (x, w1)  s = Add (t, b1)  h = Relu (s)  u = MatMul (h, w2)  {behind} }}""",
        weights,
    )


def data(count: int = 6) -> list[dict[str, np.ndarray]]:
    return [{"x": normal(4, 8, 64, seed=seed) + 2} for seed in range(count)]


def corrected(before: Program, program: Program, batches: list[dict[str, np.ndarray]]) -> tuple[Program, list[Rewrite], list[Miss]]:
    clone, rewrites, misses = program.clone(), list[Rewrite](), list[Miss]()
    for proposal in correct_biases(before, clone, Context(calibration=batches, executor=OrtExecutor())):
        if isinstance(proposal, Miss):
            misses.append(proposal)
            continue
        rewrites.append(proposal)
        with Editor(clone, at=proposal.anchor) as editor:
            proposal.change(editor)
    return clone, rewrites, misses


def mean_error(before: Program, program: Program) -> float:
    x = normal(64, 8, 64, seed=99) + 2
    (goal,), (made,) = (evaluate(one, {"x": x}) for one in (before, program))
    return float(np.linalg.norm((goal - made).mean(axis=(0, 1))))


@pytest.mark.parametrize("scheme", ["dynamic", "static"])
def test_the_mean_of_the_error_falls_by_half(scheme: str) -> None:
    before = network()
    context = Context(calibration=data(), executor=OrtExecutor())
    program = run(before, [Quantize(scheme=scheme, bits=3)], context).program  # type: ignore[arg-type]
    made, rewrites, _ = corrected(before, program, data())
    assert {one.site for one in rewrites} == {"s", "y"}
    assert mean_error(before, made) < 0.5 * mean_error(before, program)


def test_later_layers_see_what_earlier_ones_became() -> None:
    before = network()
    program = run(before, [Quantize(scheme="dynamic", bits=3)], Context()).program
    seen: list[float] = []
    for proposal in correct_biases(before, program, Context(calibration=data(), executor=OrtExecutor())):
        assert isinstance(proposal, Rewrite)
        seen.append(mean_error(before, program))
        with Editor(program, at=proposal.anchor) as editor:
            proposal.change(editor)
    seen.append(mean_error(before, program))
    assert len(seen) == 3
    assert seen[0] > seen[1] > seen[2]


def test_a_product_without_a_bias_is_a_miss_with_numbers() -> None:
    before = network(bias=False)
    program = run(before, [Quantize(scheme="dynamic", bits=3)], Context()).program
    _, _, misses = corrected(before, program, data())
    assert [miss.site for miss in misses] == ["u"]
    assert misses[0].reason.startswith("bias left as it is: there is none to correct (mean error on held-out data ")


def test_without_an_error_nothing_changes_and_one_batch_cannot_judge() -> None:
    before = network()
    _, rewrites, misses = corrected(before, before, data())
    assert rewrites == []
    assert all("gains too little" in miss.reason for miss in misses)
    assert len(misses) == 2
    _, rewrites, misses = corrected(before, before, [{"x": normal(1, 8, 64)}])
    assert rewrites == []
    assert "takes two batches" in misses[0].reason
