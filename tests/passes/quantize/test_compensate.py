"""Convolutions that make up for the error of integers before them: weights and biases, one layer after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.editor import Editor
from netwright.passes import Context, Miss, Plan, Rewrite
from netwright.passes.quantize import Quantize
from netwright.passes.quantize.carrying import Carrying
from netwright.passes.quantize.correcting.compensate import border
from netwright.passes.quantize.reading import WHOLE
from netwright.passes.quantize.recipes import RECIPES
from netwright.passes.quantize.recipes.steps import Material
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal

CHANNELS = 16


def network(*, shared: bool = False) -> Program:
    """A 1x1, a depthwise and a 1x1 convolution; channels of the first differ a hundredfold, so that one grid resolves some poorly."""
    spread = np.geomspace(0.05, 5, CHANNELS).astype(np.float32)
    weights = {
        "w1": normal(CHANNELS, 4, 1, 1, seed=1) * spread[:, None, None, None],
        "b1": 0.5 * spread,
        "w2": normal(CHANNELS, 1, 3, 3, seed=2) / spread[:, None, None, None],
        "w3": normal(CHANNELS, CHANNELS, 1, 1, seed=3),
    }
    last = "y = Conv (t, w3)" if shared else "y = Identity (t)"
    return program_of(
        f"""{HEAD} network (float[N, 4, 12, 12] x, WEIGHTS) => (float[N, {CHANNELS}, 12, 12] y)
        {{ a = Conv (x, w1, b1)  h = Relu (a)  d = Conv <group = {CHANNELS}, pads = [1, 1, 1, 1]> (h, w2)  r = Relu (d)
           t = Conv (r, w3)  {last} }}""",
        weights,
    )


def data(count: int = 6) -> list[dict[str, np.ndarray]]:
    return [{"x": normal(4, 4, 12, 12, seed=10 + seed) + 1} for seed in range(count)]


def context() -> Context:
    return Context(calibration=data(), executor=OrtExecutor())


def plan_for(program: Program, bits: int, **steps: bool) -> Plan:
    plan = Quantize(scheme="static", bits=bits).make_plan(program, context())
    return replace(plan, decisions={**plan.decisions, **({WHOLE: steps} if steps else {})})


def error(before: Program, program: Program) -> float:
    x = normal(16, 4, 12, 12, seed=99) + 1
    (goal,), (made,) = (evaluate(one, {"x": x}) for one in (before, program))
    return float(np.square(goal - made).mean() / np.var(goal))


@pytest.mark.parametrize(("bits", "share"), [(4, 0.8), (8, 0.95)])
def test_the_error_of_outputs_falls_and_more_than_by_biases_alone(bits: int, share: float) -> None:
    # at 8 bits grids of activations, which no weight can refine, are most of what is left
    program = network()
    plain, biases, fitted = (
        error(program, Carrying(context()).carried(program, plan_for(program, bits, **steps)))
        for steps in ({}, {"correct_bias": True}, {"compensate": True})
    )
    assert fitted < share * min(plain, biases)


def applied(program: Program, plan: Plan, given: Context) -> tuple[list[Rewrite], list[Miss]]:
    """Carry a plan out, and keep what was told."""
    rewrites, misses = list[Rewrite](), list[Miss]()
    for proposal in Carrying(given).proposals(program, plan):
        if isinstance(proposal, Miss):
            misses.append(proposal)
            continue
        rewrites.append(proposal)
        with Editor(program, at=proposal.anchor) as editor:
            proposal.change(editor)
    return rewrites, misses


def test_layers_without_a_bias_get_one_and_every_change_is_told_with_numbers() -> None:
    program = network()
    rewrites, _ = applied(program, plan_for(program, 4, compensate=True), context())
    first = {one.site: one.why for one in reversed(rewrites)}
    assert all("error on held-out data" in first[site] for site in ("a", "d", "t"))
    convolutions = list(program.nodes("Conv"))
    assert len(convolutions) == 3
    assert all(len(node.inputs) == 3 for node in convolutions)


def test_a_weight_with_two_readers_is_left_to_the_rounder_and_told() -> None:
    before = network(shared=True)
    program = before.clone()
    _, misses = applied(program, plan_for(program, 8, compensate=True), context())
    assert [miss.site for miss in misses if "a weight of their own" in miss.reason] == ["t"]
    assert error(before, program) < 0.05


def test_without_data_it_is_a_miss() -> None:
    program = network()
    _, misses = applied(program, plan_for(program, 8, compensate=True), Context())
    assert any("takes calibration data" in miss.reason for miss in misses)


def test_a_border_is_what_later_nodes_read_of_earlier_ones() -> None:
    program = network()
    nodes = {node.outputs[0].name: node for node in program.graph}
    assert border(program, nodes["a"]) == ("x",)
    assert border(program, nodes["d"]) == ("h",)


@pytest.mark.parametrize("recipe", ["balanced", "best"])
def test_recipes_that_fit_weights_try_it(recipe: str) -> None:
    program = network()
    material = Material(program, context(), data(), None)
    plans = [one.plan for step in RECIPES[recipe] for one in step(plan_for(program, 8), material)]
    assert any(plan.decisions.get(WHOLE, {}).get("compensate") for plan in plans)
