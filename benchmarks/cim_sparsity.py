"""Cells disabled by the input's zeros: random products beside the specification's figures, and real models at fewer converter bits.

    python -m benchmarks.cim_sparsity [--quick] [--vectors 128] [--outputs 32] [--bits 8 7 6 5 4] [--models NAME …]
        [--groups 8 16 32] [--group-models NAME …] [--group-bits 5] [--json FOLDER]

1. §4.3 of the specification, printed figure → measured. Activations are rectified normal numbers of 8 bits with a share s of zeros, weights
   normal of 8 bits in offset encoding and 1-bit cells, rows independent, no analog noise. The specification does not print how wide both
   are: here the 99.9th percentile of activations is the largest code and weights have a standard deviation of 40, which meets its rows
   without masks; at s = 0 the normal numbers are shifted by 3 deviations instead. `spec` is what netwright computes: fractions where
   N_en > 2^b − 1, integers elsewhere.
2. Granularities, in bits gained (dB / 6.02), with zeros on their own and in runs of 9.
3. Real models on 1152×256 charge-domain arrays with real data at fewer and fewer converter bits: the metric and the arrays' energy,
   without masks (`none`), with empty rows disabled (`pad`), and after `disable_cells` by row and by plane. The transformer's GELU leaves no
   zeros among values: what is left to gain is among the planes of its bytes.
4. The same chip, were its rows switched in groups only: how many rest before and after `resequence(by='inputs')`, on samples that it did
   not see, the metric at `--group-bits`, and the arrays' energy with `fewer_bits`.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks._cim_groups import group_rows
from benchmarks._cim_models import OnChip
from benchmarks._cim_monte_carlo import Masked, draw, measure
from benchmarks.table import Row, report
from netwright.backends.cim.arch import Arch, preset
from netwright.backends.cim.sparsity import DisableCells

INF = math.inf
PRINTED: dict[tuple[int, int, float], dict[str, float]] = {
    (1152, 8, 0.0): {"none": 16.0, "plane": 19.7, "plane int": 19.4, "plane exact": 0.0, "plane cap": 0.68, "plane bits": 7.50}
    | {"zigzag": 0.91, "cimloop": 0.88},
    (1152, 8, 0.5): {"none": 8.4, "row": 14.4, "row int": 13.1, "row exact": 0.0, "row cap": 0.87, "row bits": 7.41}
    | {"plane": 28.0, "plane int": 38.8, "plane exact": 0.385, "plane cap": 0.56, "plane bits": 5.99, "zigzag": 0.70, "cimloop": 0.64},
    (1152, 8, 0.7): {"none": 6.4, "row": 16.7, "row int": 14.1, "row exact": 0.0, "row cap": 0.83, "row bits": 7.00}
    | {"plane": 30.5, "plane int": INF, "plane exact": 1.0, "plane cap": 0.53, "plane bits": 5.50, "zigzag": 0.64, "cimloop": 0.59},
    (1152, 8, 0.9): {"none": 2.5, "row": 21.8, "row int": INF, "row exact": 1.0, "row cap": 0.79, "row bits": 5.01}
    | {"plane": 35.7, "plane int": INF, "plane exact": 1.0, "plane cap": 0.50, "plane bits": 3.72, "zigzag": 0.43, "cimloop": 0.54},
    (256, 6, 0.5): {"none": 2.0, "row": 7.8, "row int": 5.5, "row exact": 0.0, "row cap": 0.87, "row bits": 5.44}
    | {"plane": 22.2, "plane int": 35.2, "plane exact": 0.71, "plane cap": 0.56, "plane bits": 4.05, "zigzag": 0.67, "cimloop": 0.87},
    (256, 6, 0.7): {"none": -1.2, "row": 10.6, "row int": 8.5, "row exact": 0.05, "row cap": 0.82, "row bits": 4.95}
    | {"plane": 24.4, "plane int": INF, "plane exact": 1.0, "plane cap": 0.52, "plane bits": 3.37, "zigzag": 0.56, "cimloop": 0.87},
    (256, 6, 0.9): {"none": -7.8, "row": 14.4, "row int": INF, "row exact": 1.0, "row cap": 0.76, "row bits": 3.03}
    | {"plane": 27.8, "plane int": INF, "plane exact": 1.0, "plane cap": 0.46, "plane bits": 1.78, "zigzag": 0.30, "cimloop": 0.87},
    (256, 8, 0.5): {"none": 18.7, "row": 19.8, "row int": INF, "row exact": 1.0, "row cap": 0.87, "row bits": 7.49}
    | {"plane": 34.1, "plane int": INF, "plane exact": 1.0, "plane cap": 0.56, "plane bits": 6.03, "zigzag": 0.70, "cimloop": 0.65},
}
"""The specification's table, by rows, bits and share of zeros."""

GROUPS = (("row", 1), ("row_group", 8), ("row_group", 32), ("plane", 1), ("plane_group", 8), ("plane_group", 32))
GAINED: dict[tuple[int, float], tuple[float | None, ...]] = {
    (1, 0.5): (0.98, 0.0, 0.0, 3.19, 0.89, None),
    (1, 0.7): (1.73, 0.0, 0.0, 4.01, 1.41, 0.41),
    (1, 0.9): (3.22, 0.79, 0.04, 5.50, 2.65, 1.08),
    (9, 0.7): (None, 0.65, None, None, 2.22, None),
    (9, 0.9): (None, 1.79, 0.69, None, 3.47, 2.14),
}
"""Bits gained by granularity, in the specification, by rows that are zero together and share of zeros."""


def main() -> None:
    """Draw, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="score on a part of the evaluation data")
    parser.add_argument("--vectors", type=int, default=256)
    parser.add_argument("--outputs", type=int, default=32)
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 7, 6, 5, 4])
    parser.add_argument("--models", nargs="*", default=["train_small_cnn", "train_small_transformer"])
    parser.add_argument("--groups", type=int, nargs="*", default=[8, 16, 32], help="rows that are switched together")
    parser.add_argument("--group-models", nargs="*", default=["train_small_cnn", "digit_cnn", "train_small_transformer"])
    parser.add_argument("--group-bits", type=int, default=5)
    parser.add_argument("--json", type=Path, help="folder for the tables as JSON")
    options = parser.parse_args()
    folder: Path | None = options.json
    where = None if folder is None else folder / "cim_sparsity.random.json"
    report("Random products: printed → measured", random_products(options.vectors, options.outputs), path=where)
    print(agreement(options.vectors, options.outputs))
    where = None if folder is None else folder / "cim_sparsity.groups.json"
    report("Bits gained by granularity, 1152 rows, 8 bits: printed → measured", granularities(options.vectors, options.outputs), path=where)
    for name in options.models:
        where = None if folder is None else folder / f"cim_sparsity.{name}.json"
        report(f"{name} on 1152×256 charge-domain arrays", model_rows(name, options.bits, quick=options.quick), path=where)
    for name in options.group_models:
        where = None if folder is None else folder / f"cim_sparsity.groups.{name}.json"
        rows = list(group_rows(name, charge_arch(options.group_bits), tuple(options.groups), quick=options.quick))
        report(f"{name}, rows switched in groups, {options.group_bits} bits: as they are → ordered by inputs", rows, path=where)


def random_products(vectors: int, outputs: int) -> list[Row]:
    """The specification's table beside ours."""
    rows: list[Row] = []
    for (height, bits, sparsity), printed in PRINTED.items():
        drawn = draw(np.random.default_rng(0), height, sparsity, vectors=vectors, outputs=outputs)
        found = measure(drawn, bits, (("none", 1), ("row", 1), ("plane", 1)))
        ours = _figures(found)
        for name in ("row", "plane"):
            if name not in printed:
                continue
            row: Row = {"R": height, "b": bits, "s": sparsity, "mask": name, "none dB": _both(printed["none"], ours["none"])}
            for column, key in (("frac dB", ""), ("int dB", " int"), ("exact", " exact"), ("cap energy", " cap"), ("ADC bits", " bits")):
                row[column] = _both(printed[name + key], ours[name + key])
            row["spec dB"] = _short(found[name].specified)
            for model in ("zigzag", "cimloop"):
                row[f"E {model}"] = _both(printed[model], found["plane"].energy[model]) if name == "plane" else ""
            rows.append(row)
    return rows


def agreement(vectors: int, outputs: int) -> str:
    """How many of the printed figures are met, and the farthest: decibels within 0.7, all else within 0.05."""
    met, total, farthest, where = 0, 0, 0.0, ""
    for (height, bits, sparsity), printed in PRINTED.items():
        drawn = draw(np.random.default_rng(0), height, sparsity, vectors=vectors, outputs=outputs)
        found = measure(drawn, bits, (("none", 1), ("row", 1), ("plane", 1)))
        ours = _figures(found) | found["plane"].energy
        for name, figure in printed.items():
            decibels = name in ("none", "row", "plane") or name.endswith("int")
            gap = 0.0 if math.isinf(figure) and math.isinf(ours[name]) else abs(figure - ours[name])
            met, total = met + (gap <= (0.7 if decibels else 0.05)), total + 1
            if gap > farthest:
                farthest, where = gap, f"R = {height}, b = {bits}, s = {sparsity}, {name}"
    return f"{met} of {total} figures met (decibels within 0.7, all else within 0.05); the farthest by {farthest:.2f}: {where}\n"


def granularities(vectors: int, outputs: int) -> list[Row]:
    """Bits gained at every granularity beside the specification's."""
    rows: list[Row] = []
    for (run, sparsity), printed in GAINED.items():
        drawn = draw(np.random.default_rng(0), 1152, sparsity, vectors=vectors, outputs=outputs, run=run)
        found = measure(drawn, 8, (("none", 1), *GROUPS))
        base = found.pop("none").frac
        row: Row = {"zeros": "each row" if run == 1 else f"runs of {run}", "s": sparsity}
        for (name, one), figure in zip(found.items(), printed, strict=True):
            gained = (one.frac - base) / 6.0206
            row[name] = f"{gained:.2f}" if figure is None else f"{figure:.2f} → {gained:.2f}"
        rows.append(row)
    return rows


def model_rows(name: str, all_bits: list[int], *, quick: bool) -> list[Row]:
    """A model's metric and energy, with and without disabled cells."""
    rows: list[Row] = []
    for bits in all_bits:
        plain = OnChip.of(name, charge_arch(bits))
        arms = {"none": plain.with_masks("none"), "pad": plain.with_masks("pad")}
        notes = {"none": "", "pad": ""}
        for label, one in (
            ("row", DisableCells(granularity="row")),
            ("plane", DisableCells(granularity="plane")),
            ("plane, θ=0", DisableCells(granularity="plane", threshold=0.0)),
            ("plane, fewer bits", DisableCells(granularity="plane", fewer_bits=True)),
        ):
            arms[label], outcome = arms["pad"].with_pass(one)
            taken = len(outcome.program.ledger.actions) - len(plain.program.ledger.actions)
            notes[label] = f"{taken} of {sum(1 for _ in plain.program.nodes('CrossbarMatMul'))}"
        base = 0.0
        for label, arm in arms.items():
            measured = arm.score(quick=quick)
            base = base or measured.total_pj
            rows.append(
                {
                    "ADC bits": bits,
                    "masks": label,
                    "sites": notes[label],
                    "metric": round(measured.metric, 4),
                    "arrays µJ": measured.total_pj / 1e6,
                    "× none": measured.total_pj / base,
                    "converters µJ": measured.energy.get("converters", 0.0) / 1e6,
                    "cells µJ": measured.energy.get("cells", 0.0) / 1e6,
                    "masks µJ": measured.energy.get("masks", 0.0) / 1e6,
                    "samples": measured.samples,
                }
            )
            print(rows[-1], flush=True)
    return rows


def charge_arch(bits: int) -> Arch:
    """1152×256 charge-domain arrays whose converters have so many bits."""
    arch = preset("generic-charge-1152x256")
    adc = arch.array.adc
    assert adc is not None, "an analog chip"
    return replace(arch, array=replace(arch.array, adc=replace(adc, bits=bits)))


def _figures(found: dict[str, Masked]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, one in found.items():
        figures |= {
            name: one.frac,
            f"{name} int": one.whole,
            f"{name} exact": one.exact,
            f"{name} cap": one.charge,
            f"{name} bits": one.bits,
        }
    return figures


def _both(printed: float, measured: float) -> str:
    return f"{_short(printed)} → {_short(measured)}"


def _short(number: float) -> str:
    return "∞" if math.isinf(number) else f"{number:.3g}"


if __name__ == "__main__":
    main()
