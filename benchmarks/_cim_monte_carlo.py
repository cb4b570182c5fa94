"""Random products on charge-domain arrays with and without disabled cells: what the quantization of sums costs, in dB and in energy.

The functional specification (`netwright.backends.cim.coding.model`), vectorised for many vectors at once and for the three ways of writing
down a charge converter's result: as a fraction, rounded to an integer, and, as specified, rounded where that is provably the sum itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from netwright.backends.cim.arch.model import Adc, Arch
from netwright.backends.cim.cost.adc import converter_pj

WEIGHT_SIGMA = 40.0
"""Standard deviation of the 8-bit weights."""

CLIP = 0.999
"""Share of activations under the largest code."""

DENSE_SHIFT = 3.0
"""By how many standard deviations activations without zeros are shifted above 0."""

PLANES = 8


@dataclass(frozen=True, slots=True)
class Masked:
    """What one way of disabling cells gives.

    Attributes:
        frac: signal over quantization noise of the product with fractional results, dB.
        whole: with every result rounded to an integer; infinite where all products are exact.
        specified: with results as the specification has them.
        exact: share of conversions with N_en ≤ 2^bits − 1.
        enabled: mean N_en / rows.
        charge: Σ p·(1 − p/N_en), against that with all rows enabled.
        bits: mean bits of a conversion that keeps the step in counts; 0 of those left out.
        energy: of conversions with so many bits, against all bits, by fit.
    """

    frac: float
    whole: float
    specified: float
    exact: float
    enabled: float
    charge: float
    bits: float
    energy: dict[str, float]


@dataclass(frozen=True, slots=True)
class Draw:
    """One drawing.

    Attributes:
        inputs: [vectors, rows], 8 bits.
        weights: [rows, outputs], signed 8 bits.
    """

    inputs: np.ndarray
    weights: np.ndarray


def draw(rng: np.random.Generator, rows: int, sparsity: float, *, vectors: int, outputs: int, run: int = 1) -> Draw:
    """Rectified normal activations of 8 bits with a share of zeros, and normal weights.

    Args:
        rng: randomness.
        rows: K.
        sparsity: share of zeros.
        vectors: how many.
        outputs: J.
        run: rows that are zero together: 9 for the pixels of one channel under a 3×3 kernel, say.
    """
    shift = norm.ppf(sparsity) if sparsity else -DENSE_SHIFT
    runs = -(-rows // run)
    if run == 1:
        values = np.maximum(rng.standard_normal((vectors, rows)) - shift, 0.0)
    else:
        tail = norm.ppf(sparsity + (1.0 - sparsity) * rng.random((vectors, runs * run))) - shift
        alive = np.repeat(rng.random((vectors, runs)) >= sparsity, run, axis=1)
        values = np.where(alive, tail, 0.0)[:, :rows]
    inputs = np.clip(np.rint(values * (255.0 / np.quantile(values, CLIP))), 0, 255).astype(np.uint8)
    weights = np.clip(np.rint(rng.standard_normal((rows, outputs)) * WEIGHT_SIGMA), -128, 127).astype(np.int8)
    return Draw(inputs, weights)


def enabled(inputs: np.ndarray, granularity: str, group: int = 8) -> np.ndarray:
    """N_en of each vector and plane: int64 [vectors, planes].

    Args:
        inputs: [vectors, rows].
        granularity: `none`, `row`, `row_group`, `plane` or `plane_group`.
        group: rows of a group.
    """
    vectors, rows = inputs.shape
    if granularity == "none":
        return np.full((vectors, PLANES), rows)
    if granularity.startswith("row"):
        alive = np.broadcast_to((inputs != 0)[:, None, :], (vectors, PLANES, rows))
    else:
        alive = np.stack([(inputs >> plane) & 1 for plane in range(PLANES)], axis=1) != 0
    size = group if granularity.endswith("group") else 1
    starts = np.array(range(0, rows, size), np.int64)
    sizes: np.ndarray = np.diff(np.append(starts, rows))
    return (np.logical_or.reduceat(alive, starts, axis=2) * sizes).sum(axis=2)


def measure(drawn: Draw, bits: int, granularities: Sequence[tuple[str, int]]) -> dict[str, Masked]:
    """One drawing at every granularity, by `NAME` or `NAME/GROUP`; every mask is used (threshold 0)."""
    vectors, rows = drawn.inputs.shape
    cells = drawn.weights.astype(np.int64) + 128
    planes = np.stack([(drawn.inputs >> plane) & 1 for plane in range(PLANES)], axis=1).astype(np.float32)
    slices = np.concatenate([(cells >> place) & 1 for place in range(PLANES)], axis=1).astype(np.float32)
    outputs = drawn.weights.shape[1]
    p = (planes.reshape(-1, rows) @ slices).reshape(vectors, PLANES, PLANES, outputs).astype(np.int64)  # [vector, digit, cell, output]
    last = 2**bits - 1
    baseline = float((p * (1.0 - p / rows)).sum())
    signal = float(((drawn.inputs.astype(np.int64) @ drawn.weights.astype(np.int64)).astype(np.float64) ** 2).sum())
    found: dict[str, Masked] = {}
    for name, group in granularities:
        n = enabled(drawn.inputs, name, group)
        wide = np.maximum(n, 1)[:, :, None, None]
        code = np.rint(p * last / wide)  # p·D is far below 2^53, and N_en divides a half only where both are exact
        numerator = code * wide
        whole = np.floor((2 * numerator + last) / (2 * last))
        frac = numerator / last
        specified = frac + (wide <= last) * (whole - frac)
        saved = np.floor(np.log2(rows / np.maximum(n, 1))).astype(int)
        kept = np.where(n > 0, np.maximum(1, bits - saved), 0)
        found[name if group == 1 or not name.endswith("group") else f"{name}/{group}"] = Masked(
            _decibels(signal, p, frac),
            _decibels(signal, p, whole),
            _decibels(signal, p, specified),
            float((n <= last).mean()),
            float(n.mean() / rows),
            float((p * (1.0 - p / wide)).sum()) / baseline,
            float(kept.mean()),
            {model: _energy(kept, bits, model) for model in ("zigzag", "cimloop")},
        )
    return found


def _decibels(signal: float, p: np.ndarray, estimate: np.ndarray) -> float:
    """Signal over noise of the outputs, put together from sums with their place values."""
    places = np.exp2(np.add.outer(np.arange(PLANES), np.arange(PLANES)))
    noise = float((np.einsum("vdco,dc->vo", estimate - p, places) ** 2).sum())
    return float("inf") if noise == 0.0 else 10.0 * float(np.log10(signal / noise))


def _energy(kept: np.ndarray, bits: int, model: str) -> float:
    """Mean energy of conversions with so many bits, against all bits; none where no row is enabled."""
    adc = Adc(bits=bits, model="zigzag" if model == "zigzag" else "cimloop")
    arch = Arch(name="28 nm")
    arch = replace(arch, array=replace(arch.array, adc=adc))
    counts = np.bincount(kept.reshape(-1), minlength=bits + 1)
    spent = sum(float(counts[b]) * converter_pj(arch, adc, float(b)) for b in range(1, bits + 1))
    return spent / (float(counts.sum()) * converter_pj(arch, adc, float(bits)))
