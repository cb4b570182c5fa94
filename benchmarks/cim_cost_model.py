"""The cost of crossbar macros beside zigzag-dse's own functions, in the same process; and the two fits of converters.

    python -m benchmarks.cim_cost_model [--check]

1. Peaks that zigzag-imc's authors' code prints; 2. every part of energy, area and delay over a sweep of macros, as the largest
relative difference to zigzag-dse's; 3. energy and area of a conversion by both fits.

With `--check`, exits with 1 where a printed figure is missed or a difference exceeds 1e-6.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

from benchmarks import _zigzag
from benchmarks.table import Row, report
from netwright.backends.cim.arch.model import Adc, AdcModel, Arch, Array
from netwright.backends.cim.cost.adc import conversion
from netwright.backends.cim.cost.areas import array_areas_um2
from netwright.backends.cim.cost.delays import cycle_parts_ns
from netwright.backends.cim.cost.macro import macro
from netwright.backends.cim.cost.mvm import tree_pj
from netwright.backends.cim.cost.units import gates

LIMIT = 1e-6
"""Largest relative difference to zigzag-dse."""

Kind: TypeAlias = Literal["analog", "digital"]

PRINTED: tuple[tuple[str, tuple[Kind, int, int, int], tuple[float | None, ...]], ...] = (
    ("analog 128×128, 2 bits a cycle, 8-bit converter", ("analog", 128, 2, 8), (0.582, 9.62, 0.254)),
    ("analog 128×128, 1 bit a cycle, 8-bit converter", ("analog", 128, 1, 8), (None, 4.87, None)),
    ("analog 128×128, 1 bit a cycle, 6-bit converter", ("analog", 128, 1, 6), (None, 6.64, None)),
    ("analog 256×256, 1 bit a cycle, 8-bit converter", ("analog", 256, 1, 8), (None, 8.95, None)),
    ("digital 128×128, 1 bit a cycle", ("digital", 128, 1, 0), (1.09, 7.49, 1.36)),
    ("digital 128×128, 2 bits a cycle", ("digital", 128, 2, 0), (None, 7.55, None)),
)
"""TOPS, TOPS/W and TOPS/mm² of macros without cell area."""

ENERGY = {
    "drivers": "dacs",
    "converters": "adcs",
    "multipliers": "mults",
    "cells": "analog_bl_addition",
    "adder trees": "adders_regular",
    "place values": "adders_pv",
    "accumulators": "accumulators",
}
"""zigzag's names of our components' energies."""

AREA = {**{ours: theirs for ours, theirs in ENERGY.items() if ours not in ("drivers", "cells")}, "cells": "cells"}

DELAY = {ours: theirs for ours, theirs in ENERGY.items() if ours not in ("drivers", "cells")}


def main() -> None:
    """Parse the command line, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cim_cost_model", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    options = parser.parse_args()
    printed, missed = _printed()
    report("Peaks of macros, as printed by zigzag-imc → netwright", printed)
    swept, worst = _sweep()
    report("Largest relative difference to zigzag-dse 3.9.1's functions", swept)
    report("Fits of converters: zigzag and CiMLoop (Murmann's survey)", _fits())
    print(f"printed figures missed: {missed}; largest difference {worst:.2g} (limit {LIMIT:g})")
    if options.check and (missed or worst > LIMIT):
        sys.exit(1)


def _chip(kind: Kind, side: int, digit_bits: int, bits: int, *, columns: int = 0, cell_um2: float = 0.0) -> Arch:
    adc = Adc(bits=bits) if kind == "analog" else None
    wide = columns or 8 * side
    array = Array(kind=kind, rows=side, active_rows=side, columns=wide, digit_bits=digit_bits, adc=adc, cell_um2=cell_um2)
    return Arch(name="macro", array=array)


def _printed() -> tuple[list[Row], int]:
    rows: list[Row] = []
    missed = 0
    for name, (kind, side, digit_bits, bits), figures in PRINTED:
        peak = macro(_chip(kind, side, digit_bits, bits))
        row: Row = {"macro": name}
        for column, figure, ours in zip(
            ("TOPS", "TOPS/W", "TOPS/mm²"), figures, (peak.tops, peak.tops_per_watt, peak.tops_per_mm2), strict=True
        ):
            if figure is None:
                row[column] = f"– → {ours:.4g}"
                continue
            places = len(str(figure).split(".")[1])
            missed += round(ours, places) != figure
            row[column] = f"{figure} → {ours:.{places + 2}f}"
        row["pJ a cycle"] = round(sum(peak.energy_pj.values()), 1)
        rows.append(row)
    return rows, missed


def _macros() -> Iterator[Arch]:
    for side, digit_bits, bits, width in itertools.product((32, 64, 128, 512, 1024), (1, 2, 4, 8), (3, 4, 5, 6, 8, 10), (64, 1024)):
        yield _chip("analog", side, digit_bits, bits, columns=width, cell_um2=0.3)
    for side, digit_bits, width in itertools.product((2, 32, 64, 128, 512, 1024), (1, 2, 4, 8), (64, 1024)):
        yield _chip("digital", side, digit_bits, 0, columns=width, cell_um2=0.3)


def _sweep() -> tuple[list[Row], float]:
    worst: dict[tuple[str, str], float] = {}
    macros = 0
    for arch, banks in itertools.product(_macros(), (1, 3)):
        theirs, peak = _zigzag.macro(arch, banks), macro(arch, banks)
        areas = {name: area * banks * 1e-6 for name, area in array_areas_um2(arch).items()}
        whole = {"TOPS": theirs.tops_peak, "TOPS/W": theirs.topsw_peak, "TOPS/mm²": theirs.topsmm2_peak}
        ours = {"TOPS": peak.tops, "TOPS/W": peak.tops_per_watt, "TOPS/mm²": peak.tops_per_mm2}
        for figure, value in whole.items():
            _note(worst, ("macro", figure), ours[figure], value)
        _note(worst, ("area", "all"), peak.area_mm2, theirs.area)
        _note(worst, ("delay", "all"), peak.cycle_ns, theirs.tclk)
        _parts(worst, "energy", ENERGY, peak.energy_pj, theirs.get_peak_energy_single_cycle())
        _parts(worst, "area", AREA, areas, theirs.area_breakdown)
        _parts(worst, "delay", DELAY, cycle_parts_ns(arch), theirs.tclk_breakdown)
        macros += 1
    trees = _trees(worst)
    rows: list[Row] = [{"figure": kind, "part": part, "largest difference": f"{value:.1e}"} for (kind, part), value in worst.items()]
    print(f"{macros} macros, {trees} adder trees")
    return rows, max(worst.values())


def _trees(worst: dict[tuple[str, str], float]) -> int:
    arch = _chip("digital", 128, 1, 0)
    theirs, gate = _zigzag.macro(arch), gates(arch)
    cases = [(bits, used, physical) for bits in (1, 4, 8) for physical in (2, 8, 64, 128) for used in range(physical + 1)]
    for bits, used, physical in cases:
        _note(
            worst,
            ("energy", "half-used tree"),
            tree_pj(gate, bits, used, physical),
            theirs.get_regular_adder_trees_energy(bits, used, physical),
        )
    return len(cases)


def _parts(
    worst: dict[tuple[str, str], float], kind: str, names: Mapping[str, str], ours: Mapping[str, float], theirs: Mapping[str, float]
) -> None:
    for name, other in names.items():
        _note(worst, (kind, name), ours.get(name, 0.0), theirs[other])


def _note(worst: dict[tuple[str, str], float], key: tuple[str, str], ours: float, theirs: float) -> None:
    difference = 0.0 if ours == theirs else abs(ours - theirs) / max(abs(theirs), abs(ours))
    worst[key] = max(worst.get(key, 0.0), difference)


def _fits() -> list[Row]:
    rows: list[Row] = []
    for node, bits in itertools.product((22.0, 28.0, 65.0), (4, 5, 6, 7, 8, 10)):
        row: Row = {"node": node, "bits": bits}
        models: tuple[AdcModel, ...] = ("zigzag", "cimloop")
        for model in models:
            one = conversion(Arch(name="fit", node_nm=node, array=Array(adc=Adc(bits=bits, model=model))))
            row[f"{model} pJ"], row[f"{model} µm²"] = one.energy_pj, one.area_um2
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
