"""Five macros over voltage, precision and output: constants from the papers, calibration factors disclosed, the rest predicted.

Source of measured figures: the papers as collected by CiMLoop and AccelForge (arXiv 2405.07259, `examples/arches/compute_in_memory`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.table import Cell, Row
from netwright.backends.cim.arch.model import Adc, Arch, Array
from netwright.backends.cim.coding.model import Coding, Converter
from netwright.backends.cim.cost.adc import conversion, row_pj
from netwright.backends.cim.cost.delays import array_cycle_ns
from netwright.backends.cim.cost.mvm import Product, mvm_energy
from netwright.backends.cim.cost.units import capacitor_pj, gates
from netwright.backends.cim.engines.base import MvmCounts

NEURRAM = (
    (1, 3, 2.122, 43.08),
    (2, 4, 1.793, 40.33),
    (3, 5, 1.165, 23.09),
    (4, 6, 0.744, 15.95),
    (5, 7, 0.525, 11.03),
    (6, 8, 0.418, 8.26),
    (7, 9, 0.344, 7.75),
    (8, 10, 0.264, 6.44),
)
"""Bits of inputs and outputs, TOPS, TOPS/W: Wan, Nature 2022."""

WANG = ((0.7, 31.998, 2.377), (0.8, 22.59, 2.858), (0.9, 18.439, 3.2), (1.0, 16.376, 3.596), (1.1, 15.467, 3.941))
"""V, TOPS/W, TOPS/mm²: Wang, VLSI 2022."""

JIA = ((0.85, 0.874, 400.0, 1.79, 9.7), (1.2, 2.185, 192.0, 3.56, 20.4))
"""V, TOPS and TOPS/W of 1-bit products, pJ of a conversion, pJ of a column: Jia, JSSC 2020."""

SINANGIL = ((0, 3.357), (1, 4.563), (2, 5.033), (4, 5.443), (6, 5.838), (8, 6.285), (10, 6.657), (12, 7.044), (15, 7.795))
"""Mean output, pJ of the macro: Sinangil, JSSC 2021, at 0.8 V."""

SINANGIL_VOLTS = ((0.65, 5.11), (0.7, 5.875), (0.75, 6.8), (0.8, 7.81), (0.85, 9.03), (0.9, 10.25), (0.95, 11.75), (1.0, 13.125))
"""V, pJ of the macro at full output."""

COLONNADE = ((0.8, 144.4, 1170.0), (0.7, 91.8, 725.0), (0.6, 36.8, 292.0))
"""V, fJ of a multiplication of 8-bit weights by 1 bit and by 8 bits: Colonnade, JSSC 2021, 65 nm, 227,200 µm²."""


def neurram() -> tuple[list[Row], str, float]:
    """Rows, constants, largest error in % of the predicted six.

    The cycle is t_i·steps of integration + t_s·(conversion steps + phases), energy e_b·input bits + e_s·conversion steps: four constants
    from the first and the last row. Inputs of n + 1 bits (sign and magnitude) above three bits take two phases, of ⌈n/2⌉ and ⌊n/2⌋ bits;
    a phase of k bits integrates 2^k − 1 times; the first converts `outputs` bits, the second those that the first leaves open.
    """
    steps = [_neurram_steps(inputs, outputs) for inputs, outputs, *_ in NEURRAM]
    time = np.array([1.0 / tops for _, _, tops, _ in NEURRAM])
    energy = np.array([1.0 / efficiency for *_, efficiency in NEURRAM])
    of_time = np.array([(integrate, convert + phases) for _, integrate, convert, phases in steps], float)
    of_energy = np.array([(bits, convert) for bits, _, convert, _ in steps], float)
    ends = [0, len(NEURRAM) - 1]
    time_constants = np.linalg.solve(of_time[ends], time[ends])
    energy_constants = np.linalg.solve(of_energy[ends], energy[ends])
    rows: list[Row] = []
    worst = 0.0
    for place, (inputs, outputs, tops, efficiency) in enumerate(NEURRAM):
        fitted = place in ends
        ours = (1.0 / float(of_time[place] @ time_constants), 1.0 / float(of_energy[place] @ energy_constants))
        errors = (_error(tops, ours[0]), _error(efficiency, ours[1]))
        worst = worst if fitted else max(worst, *(abs(one) for one in errors))
        cells = (_pair(tops, ours[0]), errors[0], _pair(efficiency, ours[1]), errors[1])
        names = ("TOPS", "TOPS error %", "TOPS/W", "TOPS/W error %")
        rows.append({"in": inputs, "out": outputs, "row": "fitted" if fitted else "predicted", **_named(names, cells)})
    operations = 2 * 256 * 128
    constants = (
        f"t_i {48 * operations * time_constants[0] * 1e-3:.0f} ns, t_s {48 * operations * time_constants[1] * 1e-3:.0f} ns (48 cores); "
        f"e_b {operations * energy_constants[0] / 256:.2f} pJ a row, e_s {operations * energy_constants[1] / 128:.3f} pJ an output"
    )
    return rows, constants, worst


def wang() -> tuple[list[Row], float]:
    """A charge-domain C-2C ladder of 64 × 16 × 8 bits at 22 nm; 8-bit inputs at once.

    Of a ladder's bit 6 fF switch; a row's converter is zigzag's (50 fF a bit); columns' are the survey's fit × 3.15 (CiMLoop's factor);
    4 % of energy is other (paper). Energy ∝ V^1.6 (our factor: V² misses by 20 % at the ends), time ∝ V^−1.1 (CiMLoop's), 6.8 ns at 0.7 V.
    """
    adc = Adc(model="cimloop", rate_mhz=1e3 / 6.8, energy_scale=3.15, area_scale=0.4)
    array = Array(rows=64, active_rows=64, columns=128, digit_bits=8, adc=adc, cycle_ns=6.8 * 0.7**1.1, cell_ff=6.0)
    nominal = Arch(name="wang", node_nm=22.0, voltage=1.0, nominal_voltage=1.0, voltage_exponent=1.6, delay_exponent=1.1, array=array)
    rows: list[Row] = []
    worst = 0.0
    operations = 2 * 64 * 16
    for volts, efficiency, density in WANG:
        arch = replace(nominal, voltage=volts)
        cells = 64 * 128 * capacitor_pj(arch, array.cell_ff)
        energy = (64 * row_pj(arch) + cells + 16 * conversion(arch).energy_pj) / 0.96
        ours = (operations / energy, operations / array_cycle_ns(arch) / 1e3 / 0.124)
        errors = (_error(efficiency, ours[0]), _error(density, ours[1]))
        worst = max(worst, *(abs(one) for one in errors))
        names = ("TOPS/W", "TOPS/W error %", "TOPS/mm²", "TOPS/mm² error %")
        rows.append({"V": volts, **_named(names, (_pair(efficiency, ours[0]), errors[0], _pair(density, ours[1]), errors[1]))})
    return rows, worst


def jia() -> tuple[list[Row], str, float]:
    """A charge-domain array of 2304 × 256 cells at 65 nm with 8-bit converters.

    Converters are the survey's fit × 0.275 (CiMLoop's factor), at one conversion a cycle of 1.35 µs; the cell's capacitance is fitted to
    the column's 9.7 pJ at 0.85 V (CiMLoop fits 4.5 fF); energy ∝ V², time ∝ V^−2.66 (CiMLoop's). 1.2 V is predicted.
    """
    rows_of_column, columns, cycle = 2304, 256, 1350.0
    adc = Adc(model="cimloop", rate_mhz=1e3 / cycle, energy_scale=0.275, area_scale=0.4)
    array = Array(rows=rows_of_column, active_rows=rows_of_column, columns=columns, adc=adc, cycle_ns=cycle)
    blank = Arch(name="jia", node_nm=65.0, voltage=0.85, nominal_voltage=0.85, delay_exponent=2.66, array=array)
    gate_pj = rows_of_column * gates(blank).multiplier_pj
    femtofarads = (JIA[0][4] - gate_pj) / (rows_of_column * capacitor_pj(blank, 1.0))
    nominal = replace(blank, array=replace(array, cell_ff=femtofarads))
    rows: list[Row] = []
    worst = 0.0
    for volts, tops, efficiency, converter_pj, column_pj in JIA:
        arch = replace(nominal, voltage=volts)
        column = rows_of_column * (capacitor_pj(arch, femtofarads) + gates(arch).multiplier_pj)
        converter = conversion(arch).energy_pj
        ours = (
            2 * rows_of_column * columns / array_cycle_ns(arch) / 1e3,
            2 * rows_of_column / (column + converter),
            converter,
            column,
        )
        for name, reported, value in zip(
            ("TOPS", "TOPS/W", "pJ ADC", "pJ column"), (tops, efficiency, converter_pj, column_pj), ours, strict=True
        ):
            error = _error(reported, value)
            worst = max(worst, abs(error))
            fitted = name == "pJ column" and volts == JIA[0][0]
            rows.append({"V": volts, "figure": name, "reported → modelled": _pair(reported, value), "error %": error, "fitted": fitted})
    area = columns * conversion(nominal).area_um2 * 1e-6
    rows.append(
        {"V": None, "figure": "mm² ADC (× 0.4)", "reported → modelled": _pair(0.497, area), "error %": _error(0.497, area), "fitted": False}
    )
    return rows, f"cell {femtofarads:.2f} fF", max(worst, abs(_error(0.497, area)))


def sinangil() -> tuple[list[Row], str, float, float]:
    """Energy against the mean output: a 7 nm array of 64 × 16 × 4 bits, 4-bit inputs, 4-bit converters (the survey's fit × 3.5).

    Rows, constants, largest error in % of predicted outputs, error in % of the slope. The converters are bottom-up; two constants, what
    rows that fire draw and a cell's capacitance, come from outputs 1 and 15; the others are predicted, by counts of one product.
    """
    adc = Adc(bits=4, model="cimloop", rate_mhz=1e3 / 5.5, energy_scale=3.5)
    array = Array(rows=64, active_rows=64, columns=64, digit_bits=1, adc=adc, cell_ff=1.0)
    arch = Arch(name="sinangil", node_nm=7.0, voltage=0.8, nominal_voltage=0.8, array=array, weight_bits=4, input_bits=4)
    product = Product(
        Coding(rows=64, input_bits=4, digit_bits=4, weight_bits=4, encoding="twos_complement", converter=Converter(bits=4)), 64, 16
    )
    fixed, of_cells = _parts(arch, product, 0.0)[0], _parts(arch, product, 15.0)[1]
    (low, low_pj), (high, high_pj) = SINANGIL[1], SINANGIL[-1]
    slope = (high_pj - low_pj) / (high - low)
    femtofarads, firing = slope * 15 / of_cells, low_pj - fixed - slope * low
    rows: list[Row] = []
    worst = 0.0
    for output, reported in SINANGIL:
        still, cells = _parts(arch, product, float(output))
        ours = still + cells * femtofarads + (firing if output else 0.0)
        error = _error(reported, ours)
        fitted = output in (low, high)
        worst = worst if fitted else max(worst, abs(error))
        rows.append({"mean output": output, "pJ": _pair(reported, ours), "error %": error, "row": "fitted" if fitted else "predicted"})
    regression = float(np.polyfit([one for one, _ in SINANGIL[1:]], [pj for _, pj in SINANGIL[1:]], 1)[0])
    return rows, f"cell {femtofarads:.2f} fF, rows that fire {firing:.2f} pJ, converters {fixed:.2f} pJ", worst, _error(regression, slope)


def sinangil_volts() -> tuple[list[Row], float]:
    """Energy ∝ V², from 0.8 V."""
    reference = dict(SINANGIL_VOLTS)[0.8]
    nominal = Arch(name="sinangil", voltage=0.8, nominal_voltage=0.8)
    rows: list[Row] = []
    worst = 0.0
    for volts, reported in SINANGIL_VOLTS:
        ours = reference * capacitor_pj(replace(nominal, voltage=volts), 1.0) / capacitor_pj(nominal, 1.0)
        worst = max(worst, abs(_error(reported, ours)))
        rows.append({"V": volts, "pJ": _pair(reported, ours), "error %": _error(reported, ours)})
    return rows, worst


def colonnade() -> tuple[list[Row], float]:
    """A digital array of 128 × 128 bit cells at 65 nm, each with a 1-bit product, a full adder and a flip-flop; no constant is fitted.

    A bit of input adds 8 products to a sum of 8 + log2 128 bits. Rows below 0.8 V are outliers in energy, which falls with V^4.75 there
    (published; V² here), and the area is one: its cells are drawn by hand, not of library gates. The error in % is that of 0.8 V.
    """
    nominal = Arch(name="colonnade", node_nm=65.0, voltage=0.8, nominal_voltage=0.8)
    width = 8 + 7
    rows: list[Row] = []
    for volts, one_bit, eight_bits in COLONNADE:
        ours = 1e3 * _serial_pj(replace(nominal, voltage=volts), width)
        for bits, reported in ((1, one_bit), (8, eight_bits)):
            note = None if volts == nominal.voltage else "outlier: falls with V^4.75"
            rows.append(
                {
                    "V": volts,
                    "input bits": bits,
                    "fJ/MAC": _pair(reported, bits * ours),
                    "error %": _error(reported, bits * ours),
                    "note": note,
                }
            )
    worst = max(abs(_error(one, 1e3 * times * _serial_pj(nominal, width))) for one, times in zip(COLONNADE[0][1:], (1, 8), strict=True))
    gate = gates(nominal)
    area = 128 * 128 * (gate.multiplier_um2 + gate.adder_um2 + gate.register_um2) * 1e-6
    rows.append(
        {
            "V": None,
            "input bits": None,
            "fJ/MAC": f"mm²: {_pair(0.2272, area)}",
            "error %": _error(0.2272, area),
            "note": "outlier: cells drawn by hand",
        }
    )
    return rows, worst


def _serial_pj(arch: Arch, width: int) -> float:
    """A bit of input times 8 bits of weight, added to a sum."""
    gate = gates(arch)
    return 8 * gate.multiplier_pj + width * (gate.adder_pj + gate.register_pj)


def _neurram_steps(inputs: int, outputs: int) -> tuple[int, int, int, int]:
    bits = max(1, inputs - 1)
    phases = (bits,) if bits <= 3 else (-(-bits // 2), bits // 2)
    convert = outputs if len(phases) == 1 else outputs + outputs - phases[0]
    return bits, sum(2**one - 1 for one in phases), convert, len(phases)


def _parts(arch: Arch, product: Product, output: float) -> tuple[float, float]:
    """Converters and cells of one product of a mean output (of 15), by what the arrays would count."""
    full = 64 * product.columns * 15
    counts = MvmCounts(vectors=1, cycles=1, conversions=16, conversion_bits=64, counts=round(full * output / 15))
    energy = mvm_energy(arch, product, counts)
    return energy["converters"], energy.get("cells", 0.0)


def _error(reported: float, ours: float) -> float:
    return round(100 * (ours / reported - 1), 1)


def _pair(reported: float, ours: float) -> str:
    return f"{reported:.4g} → {ours:.4g}"


def _named(names: tuple[str, ...], cells: tuple[Cell, ...]) -> Row:
    return dict(zip(names, cells, strict=True))
