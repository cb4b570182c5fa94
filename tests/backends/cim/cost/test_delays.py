"""Times of products and of everything around them."""

from dataclasses import replace

import pytest

from netwright.backends.cim.arch.model import Arch, Array
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.cost import delays

ARCH = Arch(name="chip", array=Array(rows=256, active_rows=64, cycle_ns=2.0))


@pytest.mark.parametrize(("blocks", "cycles"), [(1, 8), (3, 24), (4, 32), (9, 32)])
def test_blocks_of_one_array_follow_each_other(blocks: int, cycles: int) -> None:
    coding = Coding(rows=64)
    assert delays.mvm_cycles(ARCH, coding, blocks) == cycles
    assert delays.mvm_ns(ARCH, coding, blocks) == 2.0 * cycles


@pytest.mark.parametrize(
    ("coding", "cycles"),
    [
        (Coding(rows=64, digit_bits=3), 3),
        (Coding(rows=64, input_signed=True), 8),
        (Coding(rows=64, input_signed=True, digit_bits=7), 2),
        (Coding(rows=64, encoding="xnor"), 1),
    ],
)
def test_digits_take_cycles(coding: Coding, cycles: int) -> None:
    assert delays.mvm_cycles(ARCH, coding, 1) == cycles


def test_a_given_cycle_follows_the_voltage_alone() -> None:
    assert delays.array_cycle_ns(ARCH) == 2.0
    lowered = replace(ARCH, voltage=0.45, nominal_voltage=0.9, delay_exponent=2.0)
    assert delays.array_cycle_ns(lowered) == pytest.approx(8.0)


def test_digital_work() -> None:
    vector = ARCH.tile.vector
    assert delays.vector_cycles(ARCH, elements=vector.lanes + 1, macs=1, special=vector.special, moved=1) == 2 + 1 + 1 + 1
    assert delays.vector_ns(ARCH, elements=1) == ARCH.clock_ns
    assert delays.memory_ns(ARCH, 65) == 2 * ARCH.clock_ns
    assert delays.dram_ns(ARCH, 16) == ARCH.clock_ns
    assert delays.dram_latency_ns(ARCH) == 100 * ARCH.clock_ns
    assert delays.link_ns(ARCH, 24) == ARCH.clock_ns
    assert delays.link_ns(ARCH, 25) == 2 * ARCH.clock_ns
    assert delays.hops_ns(ARCH, 3) == 10 * ARCH.clock_ns
    assert delays.write_ns(ARCH, 128) == 128.0


def test_odd_shapes_have_times_too() -> None:
    for kind in ("analog", "digital"):
        for rows in (1, 3, 96, 100):
            for digit_bits in (1, 3, 8):
                adc = Array().adc if kind == "analog" else None
                arch = Arch(name="odd", array=Array(kind=kind, rows=rows, active_rows=rows, digit_bits=digit_bits, adc=adc))
                assert delays.array_cycle_ns(arch) > 0
