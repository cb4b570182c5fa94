"""Bits by site within a budget."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.errors import ContractError, PlanError
from netwright.passes import Context
from netwright.passes.quantize.choice import BlockWise, Choice, Dynamic
from netwright.passes.quantize.mixed import allocated_bits
from netwright.passes.quantize.mixed.errors import measured_errors
from netwright.passes.quantize.mixed.rounded import rounded, with_bits
from netwright.passes.quantize.planning import survey
from netwright.passes.quantize.units import Unit
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal, quantized

WIDTH = 64


def branches() -> Program:
    """y = x A + x B / 100: errors of B hardly matter."""
    text = f"""{HEAD} g (float[N, {WIDTH}] x, WEIGHTS) => (float[N, {WIDTH}] y)
    {{ a = MatMul (x, wa)  b = MatMul (x, wb)  s = Mul (b, less)  y = Add (a, s) }}"""
    return program_of(text, {"wa": normal(WIDTH, WIDTH, seed=1), "wb": normal(WIDTH, WIDTH, seed=2), "less": np.array([0.01], np.float32)})


def context() -> Context:
    """With data and an executor."""
    return Context(executor=OrtExecutor(), calibration=[{"x": normal(64, WIDTH, seed=5)}])


def choices(program: Program, choice: Choice) -> dict[Unit, Choice]:
    """One for all."""
    return dict.fromkeys(survey(program).units, choice)


def by_site(bits: Mapping[Unit, int]) -> dict[str, int]:
    """Bits by name of the site."""
    return {unit.sites[0].name: count for unit, count in bits.items()}


def test_bits_go_where_outputs_feel_them() -> None:
    program = branches()
    found = allocated_bits(program, choices(program, Dynamic()), {"bits": 5}, context())
    bits = by_site(found.bits)
    assert bits == {"a": 8, "b": 2}
    assert found.average == 5
    assert found.error < found.uniform / 5


def test_errors_are_those_of_the_program_with_rounded_weights() -> None:
    program = branches()
    own = choices(program, Dynamic())
    errors = measured_errors(program, own, context())
    first = next(iter(own))
    clone = program.clone()
    with clone.edit() as editor:
        editor.set_constant(clone.value("wa"), rounded(first, with_bits(own[first], 3))["wa"])
    x = {"x": normal(64, WIDTH, seed=5)}
    goal, made = (evaluate(one, x)[0] for one in (program, clone))
    assert np.isclose(errors[first][3], np.square(made - goal).sum() / np.square(goal - goal.mean()).sum(), rtol=0.3)
    assert all(errors[first][bits] > 2 * errors[first][bits + 1] for bits in range(2, 8))


def test_blocks_have_four_bits_or_eight() -> None:
    program = branches()
    found = allocated_bits(program, choices(program, BlockWise(8, 32)), {"bits": 6}, context())
    assert by_site(found.bits) == {"a": 8, "b": 4}
    assert "lie in bytes" not in found.note


def test_a_budget_of_bytes_counts_what_is_stored() -> None:
    program = branches()
    found = allocated_bits(program, choices(program, BlockWise(8, 32)), {"bytes": 0.25}, context())
    assert by_site(found.bits) == {"a": 8, "b": 4}
    with pytest.raises(PlanError, match="packs 4-bit weights"):
        allocated_bits(program, choices(program, Dynamic()), {"bytes": 0.2}, context())


def test_out_of_reach_says_what_can_be_had() -> None:
    program = branches()
    with pytest.raises(PlanError, match=r"2\.00 on average"):
        allocated_bits(program, choices(program, Dynamic()), {"bits": 1.5}, context())


def test_without_data_it_says_so() -> None:
    program = branches()
    with pytest.raises(ContractError, match="no data"):
        allocated_bits(program, choices(program, Dynamic()), {"bits": 4}, Context(executor=OrtExecutor()))


def test_the_curve_falls_and_lies_under_that_of_uniform_bits() -> None:
    program = branches()
    found = allocated_bits(program, choices(program, Dynamic()), {"bits": 5}, context())
    best, alike = (dict(found.curve.series[name]) for name in ("bits by site", "the same bits everywhere"))
    errors = [error for _, error in sorted(best.items())]
    assert errors == sorted(errors, reverse=True)
    assert all(best[bits] <= error * (1 + 1e-6) for bits, error in alike.items() if bits in best)
    assert found.curve.chosen == (found.average, found.error)


def test_fewer_bits_lie_in_bytes_and_the_note_says_so() -> None:
    outcome = quantized(branches(), context(), scheme="dynamic", budget={"bits": 5})
    assert "lie in bytes all the same" in outcome.rows[-1].note
    assert outcome.rows[-1].curves
    stored = {
        name: value.const_value.numpy() for name, value in outcome.program.graph.initializers.items() if value.const_value is not None
    }
    assert len(np.unique(stored["wb.int8"])) <= 4
    assert len(np.unique(stored["wa.int8"])) > 100
