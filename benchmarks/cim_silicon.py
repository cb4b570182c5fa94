"""Published compute-in-memory chips: what was measured → what netwright's cost model says → the error, outliers named.

    python -m benchmarks.cim_silicon [--check]

Seven SRAM macros counted in gates (zigzag-imc's own table of validation); NeuRRAM, four constants fitted on two of its eight rows; Wang's
and Jia's macros over voltage; Sinangil's energy against the output's value; Colonnade's over voltage; converters against an array's rows.

With `--check`, exits with 1 where an error exceeds its limit.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks import _silicon_sweeps as sweeps
from benchmarks._silicon_chips import chips
from benchmarks._silicon_gates import modelled
from benchmarks.table import Row, report
from netwright.backends.cim.arch.model import Arch, Array
from netwright.backends.cim.cost.macro import macro

GATES = {"area": 65.0, "cycle": 10.0, "energy": 15.0}
"""Largest errors in % of macros in gates; DIMC1's cycle may miss by 17, and outliers by anything in what is not published."""

LIMITS = {
    "NeuRRAM, predicted rows": 10.0,
    "Wang": 10.0,
    "Jia": 10.0,
    "Sinangil, slope": 10.0,
    "Sinangil, outputs": 15.0,
    "Sinangil, voltage": 10.0,
    "Colonnade at 0.8 V": 10.0,
}
"""Largest errors in %."""


CONVERTERS = ((64, 645, 616), (128, None, 342), (256, None, 198), (512, None, 140), (1024, None, 94), (2048, 20, 82))
"""Rows, and fJ that converters take of a multiplication in AccelForge: of full arrays (published ends), of
ResNet-18. A shape to compare with: the converters are others."""

RESNET18 = (
    (147, 64, 112**2),
    *4 * ((576, 64, 56**2),),
    (576, 128, 28**2),
    *3 * ((1152, 128, 28**2),),
    (64, 128, 28**2),
    (1152, 256, 14**2),
    *3 * ((2304, 256, 14**2),),
    (128, 256, 14**2),
    (2304, 512, 7**2),
    *3 * ((4608, 512, 7**2),),
    (256, 512, 7**2),
    (512, 1000, 1),
)
"""Rows, outputs and positions of its products."""


def main() -> None:
    """Parse the command line, print every table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cim_silicon", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 where an error exceeds its limit")
    options = parser.parse_args()
    rows, missed = _gates()
    report("SRAM macros in gates: reported → modelled", rows)
    errors: dict[str, float] = {}
    rows, constants, errors["NeuRRAM, predicted rows"] = sweeps.neurram()
    report(f"NeuRRAM (Wan, Nature 2022), 130 nm; fitted: {constants}", rows)
    rows, errors["Wang"] = sweeps.wang()
    report("Wang, VLSI 2022, 22 nm; factors: converters × 3.15, energy V^1.6, time V^-1.1, cell 6 fF, 4 % other", rows)
    rows, constants, errors["Jia"] = sweeps.jia()
    report(f"Jia, JSSC 2020, 65 nm; factors: converters × 0.275, their area × 0.4, time V^-2.66; fitted: {constants}", rows)
    rows, constants, errors["Sinangil, outputs"], slope = sweeps.sinangil()
    errors["Sinangil, slope"] = abs(slope)
    report(f"Sinangil, JSSC 2021, 7 nm, energy against output; factors: converters × 3.5; fitted: {constants}", rows)
    rows, errors["Sinangil, voltage"] = sweeps.sinangil_volts()
    report("Sinangil, energy against voltage, V² from 0.8 V", rows)
    rows, errors["Colonnade at 0.8 V"] = sweeps.colonnade()
    report("Colonnade, JSSC 2021, 65 nm, digital; nothing fitted", rows)
    rows, falls = _shares()
    report("Converters against rows (28 nm, 8 × 8 bits, 8-bit converters): share of energy, and AccelForge's → ours", rows)
    report("Largest errors", [{"table": name, "error %": error, "limit %": LIMITS[name]} for name, error in errors.items()])
    missed += [f"{name}: {error} % exceeds {LIMITS[name]} %" for name, error in errors.items() if error > LIMITS[name]]
    if not falls:
        missed.append("the share of converters does not fall with rows")
    print("\n".join(missed) or "every error is within its limit")
    if options.check and missed:
        sys.exit(1)


def _gates() -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    missed: list[str] = []
    for chip in chips():
        ours = modelled(chip)
        row: Row = {"macro": chip.name, "paper": chip.paper}
        for figure, unit, reported, value, theirs in zip(GATES, ("mm²", "ns", "fJ/MAC"), chip.reported, ours, chip.theirs, strict=True):
            error = 100 * (value / reported - 1)
            row[f"{figure}, {unit}"] = f"{reported:.4g} → {value:.4g}"
            row[f"{figure} %"] = round(error, 1)
            row[f"{figure} % (authors)"] = f"±{theirs:g}"
            limit = 17.0 if (chip.name, figure) == ("DIMC1", "cycle") else GATES[figure]
            if abs(error) > limit and not chip.outlier:
                missed.append(f"{chip.name}: {figure} {error:+.1f} % exceeds {limit} %")
        row["outlier in energy"] = chip.outlier or None
        rows.append(row)
    return rows, missed


def _shares() -> tuple[list[Row], bool]:
    rows: list[Row] = []
    shares: list[float] = []
    for side, full, resnet in CONVERTERS:
        peak = macro(Arch(name="macro", array=Array(rows=side, active_rows=side, columns=1024)))
        shares.append(peak.energy_pj["converters"] / sum(peak.energy_pj.values()))
        ours = peak.energy_pj["converters"] * 1e3 / peak.macs
        rows.append(
            {
                "rows": side,
                "share %": round(100 * shares[-1], 1),
                "fJ/MAC, full": f"{full or '–'} → {ours:.3g}",
                "fJ/MAC, ResNet-18": f"{resnet} → {ours * _unfilled(side):.3g}",
            }
        )
    return rows, shares == sorted(shares, reverse=True)


def _unfilled(side: int) -> float:
    """Conversions of ResNet-18 over those of arrays that are always full: rows of blocks over rows of weights, by multiplications."""
    held = sum(-(-rows // side) * side * outputs * positions for rows, outputs, positions in RESNET18)
    return held / sum(rows * outputs * positions for rows, outputs, positions in RESNET18)


if __name__ == "__main__":
    main()
