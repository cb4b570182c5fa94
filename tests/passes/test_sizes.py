"""Numbers for named dimensions: where they come from, and what becomes of names that there are not."""

from __future__ import annotations

import numpy as np
import pytest

import netwright as nw
from netwright.backends.cim.arch import preset
from netwright.backends.cim.lowering import Bind, lower_graph
from netwright.ir.errors import DataError
from netwright.ir.program import Program
from netwright.passes import Context, run
from netwright.passes.sizes import named_sizes
from tests.backends.cim.lowering.graphs import parsed

TEXT = """<ir_version: 10, opset_import: ["" : 20]>
g (float[batch, length, 4] x) => (float[batch, length, 4] y) { y = Neg (x) }"""


@pytest.fixture
def program() -> Program:
    return parsed(TEXT, {})


def test_sizes_are_usual_ones_then_calibrated_ones_then_given_ones(program: Program) -> None:
    data = [{"x": np.zeros((8, 60, 4), np.float32)}]
    assert named_sizes(program, Context()) == {"batch": 1, "length": 128}
    assert named_sizes(program, Context(calibration=data)) == {"batch": 1, "length": 60}
    assert named_sizes(program, Context(calibration=data, dims={"length": 7})) == {"batch": 1, "length": 7}


def test_what_can_be_read_once_is_not_read(program: Program) -> None:
    data = iter([{"x": np.zeros((8, 60, 4), np.float32)}])
    assert named_sizes(program, Context(calibration=data)) == {"batch": 1, "length": 128}
    assert len(list(data)) == 1


def test_a_misspelt_name_is_an_error_of_lowering(program: Program) -> None:
    with pytest.raises(DataError, match=r"no dimension lenght\.") as caught:
        lower_graph(program, Context(), arch=preset(), dims={"lenght": 7})
    assert "batch, length" in str(caught.value)


@pytest.mark.parametrize("target", ["onnxruntime", "cim"])
def test_a_misspelt_name_is_an_error_of_compiling(program: Program, target: str) -> None:
    with pytest.raises(DataError, match=r"no dimension lenght\.") as caught:
        nw.compile(program, "simplify", target=target, dims={"lenght": 7}, latency=False)
    assert "batch, length" in str(caught.value)


def test_a_misspelt_name_is_a_miss_of_the_pass(program: Program) -> None:
    ledger = run(program, [Bind()], Context(dims={"lenght": 7, "length": 5})).program.ledger
    assert [miss.reason for miss in ledger.misses] == ["no input has a dimension lenght; those with names: batch, length"]
    assert ledger.actions[0].why == "batch = 1, length = 5"


def test_a_name_that_an_earlier_pass_gave_a_number_is_none(program: Program) -> None:
    fixed = parsed(TEXT.replace("length", "5"), {})
    assert run(fixed, [Bind()], Context(dims={"length": 5}, original=program)).program.ledger.misses == []


def test_a_chip_takes_the_sizes_of_calibration_data_where_nobody_gives_any(program: Program) -> None:
    data = {"x": np.zeros((8, 60, 4), np.float32)}
    seen = nw.compile(program, "simplify", target="cim", calibration=data, latency=False).program
    given = nw.compile(program, "simplify", target="cim", calibration=data, dims={"length": 7}, latency=False).program
    assert [one.ledger.actions[-1].why for one in (seen, given)] == ["batch = 1, length = 60", "batch = 1, length = 7"]
