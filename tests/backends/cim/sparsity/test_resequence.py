"""resequence: rows, columns and arrays that sparse weights do not need, and values that stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.backends.cim.arch.model import Adc, Arch, Array, Disabling
from netwright.backends.cim.ops import coding_of
from netwright.backends.cim.simulator.graph import GraphExecutor
from netwright.backends.cim.sparsity import Resequence
from netwright.backends.cim.sparsity.sequencing import sequence
from netwright.backends.cim.sparsity.zeros import zeros
from netwright.backends.cim.target import CimTarget
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.errors import PlanError
from netwright.ir.program import Program, array
from netwright.ir.verify import verify
from netwright.passes.context import Context
from netwright.passes.manager import Outcome, run
from netwright.passes.plan import Plan, Scalar
from netwright.targets import region_runner
from tests.backends.cim.lowering.graphs import count, kernel, lowered, normal, quantized

ARCH = Arch(name="test", array=Array(rows=16, columns=64, active_rows=16, adc=Adc(bits=5)))
"""Arrays of 16 rows of 8 weights, exact."""

TWO = """
    wd = DequantizeLinear <axis = 0> (w, ws, wz)
    c = Conv <pads = [1, 1, 1, 1]> (d, wd)
    r = Relu (c)
    q1 = QuantizeLinear (r, ys, yz)
    p8 = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (q1)
    p = DequantizeLinear (p8, ys, yz)
    vd = DequantizeLinear <axis = 0> (v, vs, vz)
    {second}
"""


def blocky(shape: tuple[int, ...], parts: int, idle: int, seed: int = 0) -> np.ndarray:
    """A kernel [out, in, …] whose outputs each need one part of the inputs only, in a mixed order; some need none."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(1, 100, shape).astype(np.int8)
    part = rng.permutation(np.arange(shape[0]) % parts)
    for out in range(shape[0]):
        weight[out, (np.arange(shape[1]) * parts // shape[1]) != part[out]] = 0
    weight[rng.permutation(shape[0])[:idle]] = 0
    return weight


def two_convolutions(second: str = "y = Conv <pads = [1, 1, 1, 1]> (p, vd)", **weights: np.ndarray) -> Program:
    first, then = kernel(0, 16, 8, 3, 3, bias=False), kernel(1, 8, 16, 3, 3, bias=False)
    then = {"v" + name[1:]: data for name, data in then.items()}
    return lowered(quantized((1, 8, 6, 6), TWO.format(second=second), {**first, **then, **weights}), ARCH)


def resequenced(program: Program, threshold: float = 0.3) -> Outcome:
    outcome = run(program, (Resequence(threshold=threshold),), Context(target=CimTarget(ARCH)))
    verify(outcome.program)
    return outcome


def same(before: Program, after: Program, *shape: int) -> None:
    x = normal(5, *shape)
    for executor in (GraphExecutor(region_runner), OrtExecutor()):
        np.testing.assert_array_equal(executor.run(after, {"x": x})["y"], executor.run(before, {"x": x})["y"])


def test_readers_follow_the_order_of_columns() -> None:
    before = two_convolutions(w=blocky((16, 8, 3, 3), parts=2, idle=2))
    outcome = resequenced(before)
    after = outcome.program
    (action,) = [one for one in after.ledger.actions if one.rule == "resequence"]
    assert "2 of 16 columns rest, 10 → 6 arrays in 2 groups of columns; readers follow" in action.why
    assert count(after, "CrossbarMatMul") == 3  # two groups, and the second layer, whose rows are in the new order
    gathers = [node for node in after.nodes("Gather") if node.outputs[0].dtype is not None]
    assert len(gathers) == 2  # inputs of the groups only
    same(before, after, 1, 8, 6, 6)


def test_what_cannot_follow_gets_columns_back_in_order() -> None:
    weights = blocky((16, 8, 3, 3), parts=2, idle=0)
    before = two_convolutions("e = Softmax <axis = 1> (p)\n y = Add (e, e)", w=weights)
    after = resequenced(before).program
    action = after.ledger.actions[-1]
    assert "columns put back in order, as Softmax" in action.why
    same(before, after, 1, 8, 6, 6)


def test_maps_tell_where_channels_went() -> None:
    before = two_convolutions(w=blocky((16, 8, 3, 3), parts=2, idle=0))
    after = resequenced(before).program
    action = after.ledger.actions[-1]
    x = normal(5, 1, 8, 6, 6)
    names = [name for name in action.maps if name in {value.name for node in before.graph for value in node.outputs}]
    old, new = (OrtExecutor().run(one, {"x": x}, names) for one in (before, after))
    assert len(names) >= 3
    for name in names:
        np.testing.assert_array_equal(action.maps[name].map.apply(old[name]), new[name])


def test_a_threshold_of_its_own() -> None:
    before = two_convolutions(w=blocky((16, 8, 3, 3), parts=2, idle=0))
    outcome = resequenced(before, threshold=0.5)
    reasons = [miss.reason for miss in outcome.program.ledger.misses]
    assert any("50.0% of its weights are 0, which does not exceed the threshold of 50.0%" in reason for reason in reasons)
    assert count(outcome.program, "CrossbarMatMul") == 2


def test_scattered_zeros_free_nothing_and_offset_is_named() -> None:
    rng = np.random.default_rng(2)
    scattered = (rng.integers(1, 100, (16, 8, 3, 3)) * (rng.random((16, 8, 3, 3)) < 0.6)).astype(np.int8)
    reasons = [miss.reason for miss in resequenced(two_convolutions(w=scattered)).program.ledger.misses]
    assert any("in no order of columns does a row or column of its 10 arrays of 16 × 8 weights rest" in reason for reason in reasons)
    assert any("offset encoding" in reason for reason in reasons)


def test_plan_repeats() -> None:
    before = two_convolutions(w=blocky((16, 8, 3, 3), parts=2, idle=1))
    outcome = resequenced(before)
    again = run(before, (Resequence(),), Context(plans={"resequence": outcome.plans[0]}, target=CimTarget(ARCH)))
    assert [one.why for one in again.program.ledger.actions] == [one.why for one in outcome.program.ledger.actions]


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 6), st.integers(1, 6), st.floats(0, 1), st.integers(0, 2**31))
def test_groups_hold_every_weight_once(rows: int, columns: int, block: int, width: int, sparsity: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.integers(1, 9, (rows, columns)) * (rng.random((rows, columns)) >= sparsity)).astype(np.int8)
    found = sequence(weight, block, width)
    again = np.zeros_like(weight)
    for group in found.groups:
        again[np.ix_(group.rows, group.columns)] += weight[np.ix_(group.rows, group.columns)]
        assert weight[group.rows][:, group.columns].any(axis=1).all()
    np.testing.assert_array_equal(again, weight)
    assert sorted(found.order) == list(range(columns))
    assert found.arrays <= found.arrays_before
    assert not weight[:, found.idle].any()


def test_alike_columns_share_arrays() -> None:
    weight = np.zeros((64, 32), np.int8)
    for column in range(32):
        weight[(column % 4) * 16 : (column % 4) * 16 + 16, column] = 1
    found = sequence(weight, 16, 8)
    assert (found.arrays_before, found.arrays, found.rows_freed) == (16, 4, 0.75)


GROUPS = replace(ARCH, array=replace(ARCH.array, disabling=Disabling(granularities=("none", "pad", "row_group"), group=4)))
"""The same arrays, whose rows are switched four at a time."""


def alternating(second: str = "y = Conv <pads = [1, 1, 1, 1]> (p, vd)") -> Program:
    """Of 16 channels in turn one is often 0, one hardly ever: their sums are shifted by a bias."""
    body = TWO.replace("(d, wd)", "(d, wd, bd)").replace("c = ", "bd = DequantizeLinear <axis = 0> (b, bs, bz)\n    c = ")
    first, then = kernel(0, 16, 8, 3, 3), kernel(1, 8, 16, 3, 3, bias=False)
    first["b"] = np.where(np.arange(16) % 2, 90_000, -90_000).astype(np.int32)
    then = {"v" + name[1:]: data for name, data in then.items()}
    grid = {"yz": np.array(0, np.uint8)}
    return lowered(quantized((1, 8, 6, 6), body.format(second=second), {**first, **then, **grid}), GROUPS)


def by_inputs(program: Program, arch: Arch = GROUPS, threshold: float = 0.3, **plans: Plan) -> Outcome:
    executor = GraphExecutor(region_runner, OrtExecutor())
    data = [{"x": normal(seed, 1, 8, 6, 6)} for seed in range(4)]
    context = Context(target=CimTarget(arch), calibration=data, executor=executor, plans=plans)
    outcome = run(program, (Resequence(by="inputs", threshold=threshold),), context)
    verify(outcome.program)
    return outcome


def resting(program: Program) -> float:
    """Share of the second product's rows that groups of 4 let rest, on data that the pass did not see."""
    node = list(program.nodes("CrossbarMatMul"))[-1]
    name = node.inputs[0].name or "" if node.inputs[0] is not None else ""
    x = GraphExecutor(region_runner).run(program, {"x": normal(5, 1, 8, 6, 6)}, [name])[name]
    return zeros(x.reshape(-1, x.shape[-1]), coding_of(node), "row_group", 4, 0.0).sparsity


def test_channels_that_rest_together_become_neighbours() -> None:
    before = alternating()
    outcome = by_inputs(before)
    (action,) = [one for one in outcome.program.ledger.actions if one.rule == "resequence"]
    assert "of their rows rest by row_group of 4" in action.why
    assert resting(outcome.program) > resting(before) + 0.2
    assert count(outcome.program, "CrossbarMatMul") == 2
    assert count(outcome.program, "Gather") == count(before, "Gather")  # the order is in weights and scalings: nothing moves
    same(before, outcome.program, 1, 8, 6, 6)
    (decision,) = outcome.plans[0].decisions.values()
    weights = [np.array(array(next(iter(one.nodes("CrossbarMatMul"))).inputs[1])) for one in (before, outcome.program)]
    np.testing.assert_array_equal(weights[1], weights[0].take(np.array(decision["order"]), axis=1))


def test_columns_that_cannot_follow_stay_in_order() -> None:
    before = alternating("e = Softmax <axis = 1> (p)\n y = Add (e, e)")
    reasons = [miss.reason for miss in by_inputs(before).program.ledger.misses]
    assert any("its columns stay in order: Softmax" in reason for reason in reasons)


def test_chips_without_groups_have_no_use_for_the_inputs_order() -> None:
    outcome = by_inputs(alternating(), ARCH)
    assert not [one for one in outcome.program.ledger.actions if one.rule == "resequence"]
    reasons = [miss.reason for miss in outcome.program.ledger.misses]
    assert sum("switches no groups of rows (it offers none, pad)" in reason for reason in reasons) == 2


def test_an_order_that_lets_no_more_rows_rest_is_not_taken() -> None:
    wide = replace(GROUPS, array=replace(GROUPS.array, disabling=replace(GROUPS.array.disabling, group=16)))
    outcome = by_inputs(alternating(), wide)
    assert not outcome.plans[0].decisions  # 16 channels are one group in any order
    reasons = [miss.reason for miss in outcome.program.ledger.misses]
    assert any("of its readers' rows rest in groups of 16 as they are" in reason for reason in reasons)


def test_inputs_have_a_threshold() -> None:
    reasons = [miss.reason for miss in by_inputs(alternating(), threshold=0.9).program.ledger.misses]
    assert any("of its readers' rows rest by row, which does not exceed the threshold of 90.0%" in reason for reason in reasons)


def test_plan_of_inputs_needs_no_data_and_is_checked() -> None:
    before = alternating()
    outcome = by_inputs(before)
    plan = outcome.plans[0]
    again = run(before, (Resequence(by="inputs"),), Context(plans={"resequence": plan}, target=CimTarget(GROUPS)))
    assert [one.why for one in again.program.ledger.actions] == [one.why for one in outcome.program.ledger.actions]
    ((site, decision),) = plan.decisions.items()
    zero: list[Scalar] = [0] * 16
    twice = Plan(pass_name=plan.pass_name, fingerprint=plan.fingerprint, decisions={site: {**decision, "order": zero}})
    with pytest.raises(PlanError, match="not one of 16 columns"):
        by_inputs(before, resequence=twice)
