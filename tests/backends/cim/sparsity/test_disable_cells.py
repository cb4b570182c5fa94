"""disable_cells: which products get masks, and what that does to values and energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.cim.arch.model import Adc, Arch, Array, Disabling, Granularity
from netwright.backends.cim.ops import coding_of
from netwright.backends.cim.simulator.graph import GraphExecutor
from netwright.backends.cim.sparsity import DisableCells
from netwright.backends.cim.target import CimTarget
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.errors import ContractError, PipelineError
from netwright.ir.program import Program
from netwright.passes.context import Context, Feeds
from netwright.passes.manager import Outcome, run
from netwright.passes.plan import Plan
from netwright.targets import region_runner
from tests.backends.cim.lowering.graphs import kernel, lowered, parsed, quantized

MATMUL = """
    wd = DequantizeLinear <axis = 1> (w, ws, wz)
    y = MatMul (d, wd)
"""
ALL: tuple[Granularity, ...] = ("none", "pad", "row_group", "row", "plane_group", "plane")


def chip(bits: int = 5, granularities: tuple[Granularity, ...] = ALL, mode: str = "charge") -> Arch:
    adc = Adc(bits=bits, mode="charge" if mode == "charge" else "step", model="zigzag")
    array = Array(rows=256, active_rows=256, adc=adc, cell_ff=2.0, disabling=Disabling(granularities=granularities, group=4))
    return Arch(name="test", array=array)


def product(arch: Arch, zero_point: int = 0, outputs: int = 6) -> Program:
    weights = kernel(0, 200, outputs, axis=1, bias=False) | {"xz": np.array(zero_point, np.uint8)}
    return lowered(quantized((1, 200), MATMUL, weights), arch)


def sparse(sparsity: float, count: int = 8) -> list[Feeds]:
    """Rows of which a share is 0 and the others up to 12."""
    rng = np.random.default_rng(3)
    return [{"x": (rng.uniform(1, 12, (1, 200)) * (rng.random((1, 200)) >= sparsity)).astype(np.float32)} for _ in range(count)]


def disabled(program: Program, arch: Arch, feeds: Sequence[Feeds], one: DisableCells) -> Outcome:
    executor = GraphExecutor(region_runner, OrtExecutor())
    return run(program, (one,), Context(calibration=feeds, executor=executor, target=CimTarget(arch)))


def masks_of(program: Program) -> Granularity:
    (node,) = program.nodes("CrossbarMatMul")
    return coding_of(node).masking.granularity


def error(program: Program, feeds: Sequence[Feeds], exact: Program) -> float:
    executor, plain = GraphExecutor(region_runner), OrtExecutor()
    return float(np.mean([np.abs(executor.run(program, one)["y"] - plain.run(exact, one)["y"]).mean() for one in feeds]))


def test_sparse_inputs_get_the_finest_masks_and_a_smaller_error() -> None:
    arch, feeds = chip(), sparse(0.8)
    before = product(arch)
    exact = quantized((1, 200), MATMUL, kernel(0, 200, 6, axis=1, bias=False) | {"xz": np.array(0, np.uint8)})
    after = disabled(before, arch, feeds, DisableCells()).program
    assert (masks_of(before), masks_of(after)) == ("pad", "plane")
    by_row = disabled(before, arch, feeds, DisableCells(granularity="row")).program
    assert masks_of(by_row) == "row"
    assert error(after, feeds, exact) < error(by_row, feeds, exact) / 2 < error(before, feeds, exact) / 4


def test_dense_inputs_are_a_miss_that_says_how_dense() -> None:
    arch = chip(granularities=("none", "pad", "row"))
    outcome = disabled(product(arch), arch, sparse(0.2), DisableCells(threshold=0.5))
    reason = outcome.program.ledger.misses[-1].reason
    assert masks_of(outcome.program) == "pad"
    assert "of its rows rest by row, which does not exceed the threshold of 50.0%" in reason
    share = float(reason.split("%")[0])
    assert 12 < share < 28


def test_the_threshold_must_be_exceeded() -> None:
    arch = chip(granularities=("none", "pad", "row"))
    half = [{"x": np.tile(np.array([0, 5], np.float32), 100)[None]}]
    assert masks_of(disabled(product(arch), arch, half, DisableCells(threshold=0.5)).program) == "pad"
    assert masks_of(disabled(product(arch), arch, half, DisableCells(threshold=0.49)).program) == "row"


def test_a_zero_point_makes_zeros_dense_and_is_named() -> None:
    arch = chip(granularities=("none", "pad", "row"))
    outcome = disabled(product(arch, zero_point=3), arch, sparse(0.9), DisableCells())
    assert outcome.program.ledger.misses[-1].reason.startswith("0.0% of its rows rest by row")
    assert "zero point is 3" in outcome.program.ledger.misses[-1].reason


def test_exact_sums_get_masks_only_where_they_save_energy() -> None:
    arch, feeds = chip(bits=8), sparse(0.95)
    arch = replace(arch, array=replace(arch.array, cell_ff=100.0))
    before = product(arch, outputs=32)
    after = disabled(before, arch, feeds, DisableCells()).program  # 200 rows ≤ 255: exact without
    assert masks_of(after) != "pad"
    executor = GraphExecutor(region_runner)
    for one in feeds:
        np.testing.assert_array_equal(executor.run(after, one)["y"], executor.run(before, one)["y"])
    dear = replace(arch, array=replace(arch.array, cell_ff=0.0, adc=Adc(bits=8, mode="charge", model="table", energy_pj=1e-9)))
    outcome = disabled(product(dear), dear, sparse(0.6), DisableCells(granularity="row"))
    assert "sums are exact without masks" in outcome.program.ledger.misses[-1].reason
    assert masks_of(outcome.program) == "pad"


@pytest.mark.parametrize("rows", [100, 256])
def test_fewer_bits_keeps_values_and_resolves_less(rows: int) -> None:
    """Of a product of 200 rows: blocks that fill the array, and one that does not, whose step `pad` has made finer."""
    arch, feeds = chip(), sparse(0.8)
    arch = replace(arch, array=replace(arch.array, rows=rows, active_rows=rows))
    before = product(arch)
    after = disabled(before, arch, feeds, DisableCells(fewer_bits=True)).program
    assert coding_of(next(after.nodes("CrossbarMatMul"))).masking.fewer_bits
    executor = GraphExecutor(region_runner)
    for one in feeds:
        plain, masked = executor.execute(before.clone(), one), executor.execute(after, one)
        np.testing.assert_array_equal(masked.values["y"], plain.values["y"])
        (old,), (new,) = plain.counts.values(), masked.counts.values()
        assert new.conversion_bits < 0.8 * old.conversion_bits


def test_a_chip_without_masks_is_a_miss() -> None:
    arch = chip(granularities=("none", "pad"))
    outcome = disabled(product(arch), arch, sparse(0.9), DisableCells())
    assert outcome.program.ledger.misses[-1].reason == "the chip test disables no cells by their input: it offers none, pad"
    arch = chip(granularities=("none", "pad", "row"))
    outcome = disabled(product(arch), arch, sparse(0.9), DisableCells(granularity="plane"))
    assert outcome.program.ledger.misses[-1].reason == "the chip test has no masks by plane: it offers none, pad, row"


def test_signs_have_no_zeros() -> None:
    arch = chip()
    text = """<ir_version: 10, opset_import: ["" : 20]> g (float[1, 30] x) => (float[1, 3] y) {
        c = GreaterOrEqual (x, zero)
        s = Where (c, plus, minus)
        y = MatMul (s, w)
    }"""
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (30, 3))
    facts = {"zero": np.float32(0), "plus": np.float32(1), "minus": np.float32(-1), "w": signs}
    program = lowered(parsed(text, {name: np.asarray(value) for name, value in facts.items()}), arch)
    outcome = disabled(program, arch, [{"x": np.zeros((1, 30), np.float32)}], DisableCells())
    assert "XNOR" in outcome.program.ledger.misses[-1].reason


def test_a_plan_is_carried_out_without_data() -> None:
    arch = chip()
    program = product(arch)
    made = disabled(program, arch, sparse(0.8), DisableCells()).plans[0]
    again = run(
        program,
        (DisableCells(),),
        Context(plans={"disable_cells": Plan.from_json(made.to_json())}, calibration=[], executor=OrtExecutor(), target=CimTarget(arch)),
    )
    assert masks_of(again.program) == "plane"


def test_options_that_mean_nothing_are_refused() -> None:
    for one in (DisableCells(threshold=1.5), DisableCells(granularity="cell"), DisableCells(group=-1)):  # pyright: ignore[reportArgumentType]
        with pytest.raises(PipelineError):
            one.check()


def test_other_targets_have_no_cells() -> None:
    arch = chip()
    context = Context(calibration=sparse(0.5), executor=OrtExecutor(), target=None)
    with pytest.raises(ContractError, match="target"):
        run(product(arch), (DisableCells(),), context)
