"""Seven SRAM macros, as zigzag-imc's authors counted their gates from the papers.

Source: KULeuven-MICAS/zigzag, `zigzag/inputs/validation/hardware/sram_imc`: counts of gates, shares of them that switch, areas of cell
arrays (CACTI), reported figures. Where sparsity was not published the share is a guess, and energy is no comparison: those are outliers.
Their scaling from 28 to 22 nm is linear in area and energy and leaves delays alone; ours is that of `netwright.backends.cim.cost.units`.
"""

from __future__ import annotations

from benchmarks._silicon_gates import CONVERT, PRODUCT, Chip, Gateware, Step, accumulate, tree, tree_adders
from netwright.backends.cim.arch.model import Adc, Arch, Array


def chips() -> tuple[Chip, ...]:
    """The seven."""
    return (_aimc1(), _aimc2(), _aimc3(), _dimc1(), _dimc2(), _dimc3(), _dimc4())


def _analog(node: float, voltage: float, bits: int, rows: int, digit_bits: int = 1) -> Arch:
    array = Array(rows=rows, active_rows=rows, digit_bits=digit_bits, adc=Adc(bits=bits))
    return Arch(name="silicon", node_nm=node, voltage=voltage, array=array)


def _digital() -> Arch:
    return Arch(name="silicon", array=Array(kind="digital", adc=None))


def _aimc1() -> Chip:
    cells = 1024 * 512
    ware = Gateware(
        multipliers=2 * cells,
        products=2 * cells,
        lines_ff=cells * 1.05,
        converters=512,
        conversions=512,
        driven=1024,
        cells_mm2=2 * 0.24496704,
    )
    return Chip(
        name="AIMC1",
        paper="CICC 2021 (9431575), 22 nm",
        arch=_analog(22, 0.8, 6, 1024, 7),
        macs=cells,
        cycles=1,
        gateware=ware,
        path=((PRODUCT, CONVERT),),
        reported=(1.9425, 1000 / 22.5, 2000 / 1050),
        theirs=(36.0, 1.0, 11.0),
    )


def _aimc2() -> Chip:
    outputs, adders = 4 * 12, 8 * 7 + 4 * 9 + 2 * 12 + 15
    ware = Gateware(
        multipliers=outputs * 64,
        products=outputs * 64,
        adders=outputs * (adders + 20),
        additions=outputs * (adders + 20),
        registers=outputs * 100,
        lines_ff=outputs * 16 * 0.7 * 9,
        converters=outputs * 16,
        conversions=outputs * 16,
        driven=4 * 32,
        cells_mm2=4 * 0.0360450648,
    )
    analog, digital = (PRODUCT, CONVERT), (tree(12, 16), accumulate(20, 16))
    return Chip(
        name="AIMC2",
        paper="JSSC 2023 (9896828), 28 nm",
        arch=_analog(28, 0.9, 5, 16, 2),
        macs=outputs * 16,
        cycles=2,
        gateware=ware,
        path=(analog + analog, digital + digital),
        reported=(0.468, 7.2, 2000 / 15.02),
        theirs=(2.4, 4.7, 604.0),
        outlier="sparsity not published",
    )


def _aimc3() -> Chip:
    columns = 8 * 256
    ware = Gateware(
        multipliers=columns * 64,
        products=columns * 16 * 0.375 * 0.5,
        adders=columns * 6,
        additions=columns * 6 * 0.5,
        lines_ff=columns * 8 * 8 * 0.35 * 0.5,
        converters=columns,
        conversions=columns * 0.5,
        area_bits=7,
        cells_mm2=8 * 0.004505472,
    )
    return Chip(
        name="AIMC3",
        paper="ISSCC 2023 7.8 (10067289), 22 nm",
        arch=_analog(22, 0.8, 3, 8),
        macs=columns * 64 / 8,
        cycles=8,
        gateware=ware,
        path=((PRODUCT, Step(carries=1, ripples=5), CONVERT),),
        reported=(1.88, 1000 / 364, 2000 / 18.7),
        theirs=(4.5, 2.4, 1.4),
    )


def _dimc1() -> Chip:
    outputs, adders = 64 * 6, tree_adders(9, 32)
    extra = 64 * 5 * (tree_adders(32, 2) + 32)
    ware = Gateware(
        multipliers=outputs * 32 * 8,
        products=outputs * 32 * 8 * 0.25,
        adders=outputs * (adders + 32) + extra,
        additions=outputs * (adders * 0.25 + 32),
        registers=outputs * 32,
        cells_mm2=64 * 0.00065545 + 64 * 5 * 32 * 1.764e-6,
    )
    return Chip(
        name="DIMC1",
        paper="ISSCC 2022 15.5 (9731762), 28 nm",
        arch=_digital(),
        macs=outputs * 32,
        cycles=4,
        gateware=ware,
        path=((PRODUCT, tree(9, 32), accumulate(32, 14)),),
        reported=(0.9408, 1000 / 195, 2000 / 36.63),
        theirs=(6.1, 16.7, 0.9),
    )


def _dimc2() -> Chip:
    adders = tree_adders(16, 32)
    ware = Gateware(
        multipliers=2 * 32 * 8,
        products=2 * 32 * 8 * 0.45,
        adders=2 * (adders + 32 * 16),
        additions=2 * (adders * 0.45 + 16),
        registers=2 * (16 + 8),
        cells_mm2=2 * 0.00396 + 2 * 31 * (16 + 8) * 6 * 0.614e-6,
    )
    return Chip(
        name="DIMC2",
        paper="ISSCC 2022 11.7 (9731545), 28 nm",
        arch=_digital(),
        macs=2 * 32,
        cycles=8,
        gateware=ware,
        path=((PRODUCT,), (tree(16, 32), Step(sums=1))),
        reported=(0.03, 3.0, 2000 / 22),
        theirs=(20.7, 5.8, 155.0),
        outlier="weights' sparsity not published",
    )


def _dimc3() -> Chip:
    outputs, adders, across = 8 * 8, tree_adders(2, 128), 8 * tree_adders(16, 8)
    ware = Gateware(
        multipliers=outputs * 256,
        products=outputs * 256 * 0.25,
        adders=outputs * adders + across + 8 * 23,
        additions=outputs * adders * 0.25 + across + 8 * 23,
        registers=8 * 23,
        cells_mm2=8 * 0.00193147,
    )
    return Chip(
        name="DIMC3",
        paper="ISSCC 2023 7.2 (10067260), 28 nm",
        arch=_digital(),
        macs=outputs * 128 / 8,
        cycles=4,
        gateware=ware,
        path=((PRODUCT, tree(2, 128), accumulate(23, 17), tree(16, 8)),),
        reported=(0.1462, 1000 / 182, 2000 / 19.5),
        theirs=(0.03, 1.7, 2.4),
    )


def _dimc4() -> Chip:
    outputs = 4 * 8
    adders = 64 * tree_adders(1, 16) + 8 * tree_adders(4, 8) + tree_adders(6, 8)
    ware = Gateware(
        multipliers=outputs * 128,
        products=outputs * 128 * 0.5,
        adders=outputs * (adders + 17),
        additions=outputs * (adders * 0.25 + 17),
        registers=outputs * (17 + 48),
        cells_mm2=4 * 0.00416728,
    )
    return Chip(
        name="DIMC4",
        paper="ISSCC 2023 16.3 (10067779), 28 nm",
        arch=_digital(),
        macs=outputs * 128,
        cycles=8,
        gateware=ware,
        path=((PRODUCT, tree(1, 16), tree(4, 8)), (tree(6, 8), accumulate(17, 9))),
        reported=(0.269, 2.5, 2000 / 275),
        theirs=(23.0, 4.8, 1497.0),
        outlier="toggle rate not published",
    )
