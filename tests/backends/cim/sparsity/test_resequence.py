"""resequence: rows, columns and arrays that sparse weights do not need, and values that stay."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.backends.cim.arch.model import Adc, Arch, Array
from netwright.backends.cim.simulator.graph import GraphExecutor
from netwright.backends.cim.sparsity import Resequence
from netwright.backends.cim.sparsity.sequencing import sequence
from netwright.backends.cim.target import CimTarget
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.program import Program
from netwright.ir.verify import verify
from netwright.passes.context import Context
from netwright.passes.manager import Outcome, run
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
