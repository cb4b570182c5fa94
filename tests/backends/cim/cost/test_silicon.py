"""Published chips by the cost model: the benchmark's tables, held to their limits."""

import pytest

from benchmarks import _silicon_sweeps as sweeps
from benchmarks._silicon_chips import chips
from benchmarks._silicon_gates import Chip, modelled


@pytest.mark.parametrize("chip", chips(), ids=lambda chip: chip.name)
def test_macros_in_gates(chip: Chip) -> None:
    area, cycle, energy = (ours / reported - 1 for ours, reported in zip(modelled(chip), chip.reported, strict=True))
    assert abs(area) < 0.65
    assert abs(cycle) < (0.17 if chip.name == "DIMC1" else 0.10)
    assert (abs(energy) < 0.15) is not bool(chip.outlier)


def test_macros_in_gates_are_zigzags_where_the_node_is_its() -> None:
    for chip in chips():
        if chip.arch.node_nm == 28:
            errors = [100 * abs(ours / reported - 1) for ours, reported in zip(modelled(chip), chip.reported, strict=True)]
            assert errors == pytest.approx(list(chip.theirs), rel=0.01, abs=0.06)


def test_six_rows_of_neurram_from_two() -> None:
    rows, _, worst = sweeps.neurram()
    assert [row["row"] for row in rows] == ["fitted", *6 * ["predicted"], "fitted"]
    assert worst < 10


def test_voltage_sweeps() -> None:
    assert sweeps.wang()[1] < 10
    assert sweeps.jia()[2] < 10
    assert sweeps.sinangil_volts()[1] < 10
    assert sweeps.colonnade()[1] < 10


def test_energy_follows_the_output() -> None:
    _, _, worst, slope = sweeps.sinangil()
    assert worst < 15
    assert abs(slope) < 10
