"""The account of a run: from the counters and nothing else."""

from dataclasses import replace

import pytest

from netwright.backends.cim.arch.model import Adc, Arch, Array
from netwright.backends.cim.coding.model import Coding, Converter
from netwright.backends.cim.cost.account import CHIP, account
from netwright.backends.cim.cost.adc import conversion
from netwright.backends.cim.cost.macro import macro
from netwright.backends.cim.cost.mvm import Product, mvm_energy, tree_pj
from netwright.backends.cim.cost.units import capacitor_pj, gates
from netwright.backends.cim.engines.base import MvmCounts
from netwright.backends.cim.program.model import Reload
from netwright.backends.cim.simulator.activity import Trace
from netwright.backends.cim.simulator.counting import count
from netwright.ir.errors import RunError
from tests.backends.cim.cost.programs import chip_program, full_counts, timeline_of, trace_of

ARCH = Arch(name="chip", array=Array(rows=128, columns=256, active_rows=128))
CODING = Coding(encoding="twos_complement", converter=Converter(mode="step"))


def test_full_use_costs_the_peak() -> None:
    counts = full_counts(CODING, 128, 32, 256, digits=8)
    energy = mvm_energy(ARCH, Product(CODING, 128, 32), counts)
    assert energy == pytest.approx({name: 8 * part for name, part in macro(ARCH).energy_pj.items()})


def test_full_use_costs_the_peak_with_two_bits_a_cycle() -> None:
    arch = replace(ARCH, array=replace(ARCH.array, digit_bits=2))
    coding = replace(CODING, digit_bits=2)
    energy = mvm_energy(arch, Product(coding, 128, 32), full_counts(coding, 128, 32, 256, digits=4))
    assert energy == pytest.approx({name: 4 * part for name, part in macro(arch).energy_pj.items()})


@pytest.mark.parametrize("digit_bits", [1, 2])
def test_full_use_of_a_digital_array_costs_the_peak(digit_bits: int) -> None:
    arch = Arch(name="digital", array=Array(kind="digital", adc=None, digit_bits=digit_bits))
    coding = replace(CODING, digit_bits=digit_bits, converter=Converter())
    cycles = 8 // digit_bits
    energy = mvm_energy(arch, Product(coding, 128, 32), full_counts(coding, 128, 32, 256, digits=cycles))
    assert energy == pytest.approx({name: cycles * part for name, part in macro(arch).energy_pj.items()})


def test_energy_follows_the_values() -> None:
    full = full_counts(CODING, 128, 32, 256, digits=8)
    half = replace(full, rows_on=full.rows_on // 2, counts=full.counts // 4)
    product = Product(CODING, 128, 32)
    at_peak, sparse = mvm_energy(ARCH, product, full), mvm_energy(ARCH, product, half)
    assert sparse["multipliers"] == pytest.approx(at_peak["multipliers"] / 2)
    assert sparse["cells"] == pytest.approx(at_peak["cells"] / 4)
    assert sparse["converters"] == at_peak["converters"]


def test_charge_arrays_draw_by_their_charge() -> None:
    coding = replace(CODING, converter=Converter(mode="charge"))
    counts = MvmCounts(vectors=1, cycles=8, counts=10_000, charge=2_500.0)
    energy = mvm_energy(ARCH, Product(coding, 128, 32), counts)
    assert energy["cells"] == pytest.approx(2_500 * capacitor_pj(ARCH, ARCH.array.cell_ff))


def test_masks_and_fewer_bits() -> None:
    arch, product = ARCH, Product(CODING, 128, 32)
    counts = MvmCounts(vectors=1, cycles=8, conversions=100, conversion_bits=550, masks=8, mask_rows=1024, compensations=256)
    energy = mvm_energy(arch, product, counts)
    assert energy["converters"] == pytest.approx(50 * (conversion(arch, 5).energy_pj + conversion(arch, 6).energy_pj))
    without = mvm_energy(arch, product, replace(counts, compensations=0))
    assert without["masks"] == pytest.approx(1024 * 3.402e-3)
    assert energy["masks"] > without["masks"]


def test_offset_pays_for_its_correction_and_pairs_for_two_peripheries() -> None:
    counts = full_counts(CODING, 128, 32, 256, digits=8)
    offset = mvm_energy(ARCH, Product(replace(CODING, encoding="offset"), 128, 32), counts)
    assert offset["correction"] == pytest.approx((8 * 128 + 32 * (8 + 8 + 7)) * 3.402e-3)
    pair = mvm_energy(ARCH, Product(replace(CODING, encoding="differential"), 128, 32), counts)
    before = mvm_energy(ARCH, Product(replace(CODING, encoding="differential", subtract="before"), 128, 32), counts)
    assert pair["accumulators"] == pytest.approx(2 * before["accumulators"])


def test_half_used_trees() -> None:
    gate = gates(ARCH)
    assert tree_pj(gate, 8, 0, 128) == 0.0
    assert tree_pj(gate, 8, 128, 128) == pytest.approx((128 * 9 - 16) * gate.adder_pj)
    assert tree_pj(gate, 8, 64, 128) == pytest.approx((64 * 9 - 15) * gate.adder_pj + 14 * gate.half_adder_pj)
    used = [tree_pj(gate, 8, rows, 128) for rows in range(129)]
    assert used == sorted(used)


def test_the_account_of_a_program() -> None:
    arch = replace(ARCH, leakage_mw_per_mm2=0.5)
    counts = full_counts(CODING, 128, 32, 256, digits=8, vectors=2)
    cost = account(chip_program(arch, CODING, 128, 32), trace_of(counts), timeline_of())
    memory, dram, network = arch.tile.memory, arch.dram, arch.network
    assert cost.layers["(load)"]["dram"] == pytest.approx(50 * dram.read_pj_per_byte)
    assert cost.layers["relu"]["vector units"] == pytest.approx(25 * 0.5 + 10 * 0.8 + 5 * 5.0)
    assert cost.layers["relu"]["network"] == pytest.approx(150 * (network.router_pj_per_byte + network.link_pj_per_byte))
    assert cost.layers["relu"]["memory"] == pytest.approx(250 * memory.read_pj_per_byte + 50 * memory.write_pj_per_byte)
    assert cost.layers["fc"]["writes"] == pytest.approx(500 * arch.array.write_pj)
    assert cost.layers["fc"]["converters"] == pytest.approx(8 * macro(arch).energy_pj["converters"])
    assert cost.layers[CHIP]["leakage"] == pytest.approx(0.5 * cost.total_mm2 * 700.0)
    assert cost.macs == 128 * 32 + 10
    assert cost.energy_pj == pytest.approx(sum(cost.components.values()))
    in_tiles = sum(sum(energy.values()) for energy in cost.tiles.values())
    assert in_tiles + cost.layers[CHIP]["leakage"] == pytest.approx(cost.energy_pj)
    assert cost.tops_per_watt == pytest.approx(2000 / cost.fj_per_mac)
    assert cost.tops == pytest.approx(2 * cost.macs / 400.0 / 1e3)
    assert cost.loading_pj == pytest.approx(128 * 256 * 0.095 + 128 * 32 * 87.5)


@pytest.mark.parametrize(("bits", "a_weight"), [(8, 1.0), (4, 0.5)])
def test_the_first_load_takes_what_a_reload_takes(bits: int, a_weight: float) -> None:
    """A unit three routers away: bits of the coding from outer memory, over the mesh with one header, into cells."""
    chip = chip_program(ARCH, replace(CODING, weight_bits=bits), 128, 32)
    chip = replace(chip, units=(replace(chip.units[0], tile=3), chip.units[1]))
    trace = Trace(samples=2, activities={(3, 0): count(chip, 3, Reload(1))})
    cost = account(chip, trace, timeline_of())
    stored, network = 128 * 32 * a_weight, ARCH.network
    over_mesh = 3 * (stored + network.header_bytes) * (network.router_pj_per_byte + network.link_pj_per_byte)
    assert cost.loading_pj == pytest.approx(128 * 32 * bits * ARCH.array.write_pj + stored * ARCH.dram.read_pj_per_byte + over_mesh)
    assert trace.samples * sum(cost.layers["fc"].values()) == pytest.approx(cost.loading_pj)


def test_a_sample_costs_the_same_whatever_the_batch() -> None:
    chip = chip_program(ARCH, CODING, 128, 32)
    one = trace_of(full_counts(CODING, 128, 32, 256, digits=8, vectors=1), samples=1)
    for activity in one.activities.values():
        for name in ("elements", "macs", "special", "read_bytes", "written_bytes", "dram_read", "byte_hops", "cells_written"):
            setattr(activity, name, getattr(activity, name) // 2)
    two = trace_of(full_counts(CODING, 128, 32, 256, digits=8, vectors=2))
    assert account(chip, one, timeline_of()).components == pytest.approx(account(chip, two, timeline_of()).components)


def test_utilisation() -> None:
    arch = replace(ARCH, array=replace(ARCH.array, cycle_ns=10.0))
    counts = full_counts(CODING, 64, 16, 128, digits=8, vectors=2)
    use = account(chip_program(arch, CODING, 64, 16), trace_of(counts), timeline_of(interval=160.0)).use
    assert use.arrays == pytest.approx(2 / arch.arrays)
    assert use.cells == pytest.approx(64 * 128 / (arch.arrays * 128 * 256))
    assert use.packing == pytest.approx(0.25)
    assert use.tile_busy == {0: pytest.approx(0.5), 3: 0.0}
    assert use.tile_arrays[0] == pytest.approx(1 / arch.tile_arrays)


def test_area_has_every_part() -> None:
    cost = account(chip_program(ARCH, CODING, 128, 32), trace_of(MvmCounts()), timeline_of())
    assert {"cells", "converters", "memory", "network", "vector units", "drivers"} <= set(cost.area_mm2)
    assert cost.area_mm2["cells"] == pytest.approx(ARCH.arrays * 128 * 256 * 0.3e-6)
    assert "masks" not in cost.area_mm2


def test_traces_of_other_programs_are_refused() -> None:
    chip = chip_program(ARCH, CODING, 128, 32)
    with pytest.raises(RunError, match="no samples"):
        account(chip, trace_of(MvmCounts(), samples=0), timeline_of())
    trace = trace_of(MvmCounts())
    trace.activities[5, 7] = trace.activities[0, 0]
    with pytest.raises(RunError, match="instruction 7 of tile 5, which has 0"):
        account(chip, trace, timeline_of())


def test_the_survey_costs_more_than_zigzag() -> None:
    counts = full_counts(CODING, 128, 32, 256, digits=8, vectors=2)
    survey = replace(ARCH, array=replace(ARCH.array, adc=Adc(model="cimloop")))
    ours, theirs = (account(chip_program(arch, CODING, 128, 32), trace_of(counts), timeline_of()) for arch in (ARCH, survey))
    assert (ours.converter, theirs.converter) == ("zigzag", "cimloop")
    assert theirs.components["converters"] / ours.components["converters"] == pytest.approx(1.9, abs=0.05)
