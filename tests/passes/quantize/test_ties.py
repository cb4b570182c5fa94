"""A weight with several readers is quantized once, for all of them."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.ir import Program
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal, ops, product, quantized, reasons

IDS = np.array([[1, 5, 1099]])


def tied_head() -> Program:
    """A table of 1,100 x 64, looked up at the start and multiplied with at the end (through a Transpose)."""
    text = f"""{HEAD} lm (int64[N, T] ids, WEIGHTS) => (float[N, T, 1100] logits)
    {{ x = Gather (table, ids)  h = MatMul (x, w)  head = Transpose <perm: ints = [1, 0]> (table)  logits = MatMul (h, head) }}"""
    return program_of(text, {"table": normal(1100, 64, seed=1), "w": normal(64, 64, seed=2) / 8})


def shared_layers(last: str = "y = MatMul (b, w)") -> Program:
    """One weight, three layers."""
    text = f"""{HEAD} albert (float[N, 64] x, WEIGHTS) => (float[N, 64] y)
    {{ a1 = MatMul (x, w) a = Tanh (a1)  b1 = MatMul (a, w)  b = Tanh (b1)  {last} }}"""
    return program_of(text, {"w": normal(64, 64, seed=1) / 8})


def test_an_embedding_and_its_head_share_one_integer_table() -> None:
    program = tied_head()
    outcome = quantized(program, scheme="dynamic")
    names = {value.name for value in outcome.program.initializers()}
    assert {"table.int8", "table.scale"} <= names
    assert "table" not in names
    assert [action.site for action in outcome.program.ledger.actions] == ["x", "h"]
    before, after = evaluate(program, {"ids": IDS})[0], evaluate(outcome.program, {"ids": IDS})[0]
    assert np.linalg.norm(after - before) < 0.03 * np.linalg.norm(before)


def test_the_tied_heads_logits_are_integer_products_with_the_tables_rows() -> None:
    program = tied_head()
    outcome = quantized(program, scheme="dynamic")
    hidden, logits = evaluate(outcome.program, {"ids": IDS}, ["h", "logits"])
    table = program.value("table").const_value
    assert table is not None
    assert logits == pytest.approx(product(hidden, table.numpy().T.copy()), rel=1e-4, abs=1e-4)


def test_layers_that_share_a_weight_go_on_sharing_it() -> None:
    program = shared_layers()
    outcome = quantized(program, scheme="dynamic")
    assert len(outcome.program.ledger.actions) == 1
    assert ops(outcome.program).count("MatMulInteger") == 3
    assert [value.name for value in outcome.program.initializers()] == ["w.int8", "w.scale"]
    x = normal(2, 64)
    weight = program.value("w").const_value
    assert weight is not None
    a = np.tanh(product(x, weight.numpy()))
    expected = product(np.tanh(product(a, weight.numpy())), weight.numpy())
    assert evaluate(outcome.program, {"x": x})[0] == pytest.approx(expected, rel=2e-2, abs=2e-2)


def test_a_reader_that_must_stay_float_keeps_the_whole_tie_float() -> None:
    outcome = quantized(shared_layers("s = Mul (b, b)  r = ReduceSum (w)  y = Add (s, r)"), scheme="dynamic")
    assert outcome.rows[0].actions == 0
    assert set(reasons(outcome)) == {"a1", "b1"}
    assert "also read by ReduceSum %r" in reasons(outcome)["a1"]


def test_a_weight_read_by_rows_and_by_columns_stays_float() -> None:
    outcome = quantized(shared_layers("t = Transpose (w)  y = MatMul (b, t)"), scheme="dynamic")
    assert outcome.rows[0].actions == 0
    assert "by rows and by columns" in reasons(outcome)["y"]


def test_a_weight_that_is_an_output_stays_float() -> None:
    program = shared_layers()
    program.graph.outputs.append(program.value("w"))
    outcome = quantized(program, scheme="dynamic")
    assert "is an output of the graph" in reasons(outcome)["a1"]


@pytest.mark.parametrize("bits", [4, 8])
def test_block_wise_an_embedding_and_its_head_share_one_table(bits: int) -> None:
    program = tied_head()
    outcome = quantized(program, scheme="weights", bits=bits)
    found = ops(outcome.program)
    assert (found.count("GatherBlockQuantized"), found.count("MatMulNBits")) == (1, 2)
    assert "table" not in {value.name for value in outcome.program.initializers()}
    before, after = evaluate(program, {"ids": IDS})[0], evaluate(outcome.program, {"ids": IDS})[0]
    assert np.linalg.norm(after - before) < (0.2 if bits == 4 else 0.02) * np.linalg.norm(before)


def test_block_wise_a_tied_table_of_odd_width_stays_float() -> None:
    text = f"""{HEAD} lm (int64[N, T] ids, WEIGHTS) => (float[N, T, 1100] logits)
    {{ x = Gather (table, ids)  head = Transpose (table)  logits = MatMul (x, head) }}"""
    outcome = quantized(program_of(text, {"table": normal(1100, 72)}), scheme="weights", bits=4)
    assert "no multiple of 16" in reasons(outcome)["x"]
    assert outcome.rows[0].actions == 0
