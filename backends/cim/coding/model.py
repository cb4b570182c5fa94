"""The functional specification of one product on crossbars, as data; `reference` computes it plainly, `engines` fast.

    y[n, j] = Σ_k x[n, k] · w[k, j]           x: [N, K] integers, w: [K, J] integers, y: [N, J] integers

computed as hardware does: K is cut into blocks of `rows`; inputs into digits of `digit_bits` (least significant first), weights into
cells of `cell_bits`; for each block, digit i and cell j, a column's sum

    p = Σ_{k in block} digit_i(x[n, k]) · cell_j(w[k])         0 ≤ p ≤ F = N_en · (2^digit_bits − 1) · (2^cell_bits − 1)

goes through a converter, p → p̂, and y is put together from p̂ with place values 2^(digit_bits·i + cell_bits·j), in integers.

**Inputs** are unsigned of `input_bits`, or, with `input_signed`, two's complement whose topmost plane counts −2^(input_bits−1) (then
digit_bits must divide input_bits − 1, or be 1, and the top digit is a plane of its own).

**Weights** by encoding:
- `offset`: w + 2^(weight_bits−1) is stored; 2^(weight_bits−1)·Σ_k x[n, k] is subtracted digitally, exactly;
- `differential`: w⁺ and w⁻ = max(±w, 0) in two arrays, of weight_bits − 1 bits each (−2^(weight_bits−1) is refused); the columns are
  subtracted `before` one signed conversion of p⁺ − p⁻, or `after` two conversions;
- `twos_complement`: slices of w mod 2^weight_bits, the topmost of 1 bit counting −2^(weight_bits−1);
- `xnor`: x and w are ±1, one plane each, stored as 0 and 1; p counts equal pairs among enabled rows and y = 2·p̂ − N_en. There are no
  zeros to mask, and rows without weights are always disabled (0 = 0 would count): N_en = the rows that hold weights.

**Conversions** (all in integers; `rhe` rounds half to even; D = 2^bits − 1, of signed conversions D = 2^(bits−1) − 1 to either side):
- `exact`: p̂ = p (digital arrays);
- `step`: code = clamp(rhe(p / step), 0, D), p̂ = code · step;
- `clip`: step of 1;
- `range`: code = rhe((clamp(p, low, high) − low) · D / (high − low)), p̂ = low + code · (high − low) / D (2·D of signed conversions: D
  steps to either side);
- `charge`: code = rhe(p · D / F'), p̂ = code · F' / D, where F' = q·(N_en + parasitic), q = (2^digit_bits − 1)(2^cell_bits − 1): the
  column settles at p/F' of the supply, so fewer enabled rows make a finer step. Where F' ≤ D, p̂ is rounded to the integer that it then
  is within a half of, which is p itself; elsewhere code · F' is kept.
N_en = 0, in every mode: no conversion, p̂ = 0. q and D are of the array: a last digit or cell of fewer bits does not change them.
`range` and `charge` give fractions: the sum over all conversions of an output, in all blocks of the matrix, is kept over one denominator
in 64 bits, what is added digitally joins it, and it is divided once, at the end, rounding half to even. Noise is added to p before the
code is taken: in whole 256ths of a count, drawn as `noise` says, so that it too is the same whoever computes it; with `exact`, p̂ is then
the nearest integer.

**Masks** (`Masking`): which rows of a block are enabled. Only a row whose input digit is 0 may be disabled, so p never changes; N_en does.
`none`: all `rows` of the array; `pad`: the rows that hold weights; `row`: rows whose whole input is not 0; `row_group`: groups of
`group` consecutive rows with such a row; `plane`: for each digit plane, rows whose digit is not 0; `plane_group` likewise in groups.
A mask is used where the share of the block's weight-holding rows that it would disable *exceeds* `threshold` (0: always, when anything
is disabled; 1: never), by itself for each digit where it is one of `plane` or `plane_group`; else `pad`. Groups are counted from the
block's first row; its last may be smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from netwright.backends.cim.arch.model import ConverterMode, Granularity

WeightCoding: TypeAlias = Literal["offset", "differential", "twos_complement", "xnor"]

PARASITIC_STEPS = 256
"""Parasitic capacitance is a whole number of 256ths of a cell's: everything stays in integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converter:
    """What becomes of a column's sum.

    Attributes:
        mode: see the module.
        bits: resolution.
        step: counts a code, mode `step`: at least 1.
        low: first sum of the range, mode `range`.
        high: last sum of the range, mode `range`.
    """

    mode: ConverterMode = "exact"
    bits: int = 8
    step: int = 1
    low: int = 0
    high: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Masking:
    """Which cells are disabled.

    Attributes:
        granularity: what a mask tells apart.
        group: rows of a group.
        threshold: a mask is used where the share of zeros exceeds this.
        parasitic: the column's parasitic capacitance, in 256ths of a cell's.
        fewer_bits: keep the step in counts and convert with fewer bits instead: bits − ⌊log2(rows / N_en)⌋ (at least 1). In mode
            `charge` the step, and rows, are the block's own without a mask (`pad`: its weight-holding rows), elsewhere the array's.
            Values are those without a mask; conversions get cheaper.
    """

    granularity: Granularity = "none"
    group: int = 8
    threshold: float = 0.5
    parasitic: int = 0
    fewer_bits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """Analog noise of one product.

    Attributes:
        conversion: standard deviation of each conversion, in counts.
        cell: relative standard deviation of a cell's contribution.
        seed: of the counters that both are drawn by; a conversion's noise depends on (seed, stream, vector, block, digit, cell, column)
            and nothing else.
        stream: the layer's own number.
    """

    conversion: float = 0.0
    cell: float = 0.0
    seed: int = 0
    stream: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """How one product is computed on crossbars.

    Attributes:
        rows: rows of a block: one partial sum.
        input_bits: bits of an input.
        input_signed: inputs are two's complement.
        digit_bits: input bits of a cycle.
        weight_bits: bits of a weight, its sign included.
        cell_bits: weight bits of a cell.
        encoding: of signed weights.
        subtract: of differential columns.
        converter: of sums.
        masking: of cells.
        noise: of sums; None for none.
    """

    rows: int = 128
    input_bits: int = 8
    input_signed: bool = False
    digit_bits: int = 1
    weight_bits: int = 8
    cell_bits: int = 1
    encoding: WeightCoding = "offset"
    subtract: Literal["before", "after"] = "after"
    converter: Converter = Converter()
    masking: Masking = Masking()
    noise: Disturbance | None = None
