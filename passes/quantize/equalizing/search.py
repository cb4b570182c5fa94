"""Which scale suits an activation: candidates, an estimate that ranks them, and the product's measured error, which decides.

With Δx the step of the activation's integers and Δw_n those of the weight's columns, the expected squared error of x W, x: [rows, K],
W: [K, N], for scales s is

    E(s) = Δx(s)² / 12 · Σ_k s_k² |W_k|²  +  Σ_n Δw_n(s)² / 12 · Σ_k mean(x_k²) / s_k²

Candidates are s_k = peak_k^a / max|W_k|^(1-a) (SmoothQuant, Xiao et al., 2022) and s_k = max(1, peak_k / t), which shrinks outlier
channels alone; all are rounded to powers of two. A transformer's activations differ: after a normalization all channels want to be scaled,
after a GELU only those with outliers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from netwright.passes.quantize.equalizing.seen import Seen
from netwright.passes.quantize.integers import by_columns

ALPHAS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Exponents a."""
THRESHOLDS = tuple(2.0 ** (-step / 2) for step in range(1, 11))
"""t, as shares of the largest peak."""
MEASURED = 4
"""So many of the candidates, those that the estimate likes best, are measured."""


@dataclass(frozen=True, slots=True)
class Found:
    """A scale for an activation.

    Attributes:
        exponents: of two.
        form: how it was made: `alpha 0.7`, `threshold 0.25`.
        before, after: relative error of the products, root of the mean over readers, without it and with it, on held-out batches.
    """

    exponents: tuple[int, ...]
    form: str
    before: float
    after: float


def search(seen: Seen, weights: Sequence[np.ndarray], *, bits: int = 8, per_batch: bool = True, alpha: float | None = None) -> Found | None:
    """The scale that leaves least error; None where none of the candidates changes anything.

    Args:
        seen: the activation. Odd batches choose, even ones give the numbers; of a single batch its rows do.
        weights: of all products that read it, [channels, outputs] each.
        bits: of the weights.
        per_batch: whether each batch has a step of its own (dynamic) or all have one (static).
        alpha: the only exponent tried.
    """
    if not seen.finite or not any(np.isfinite(weight).all() for weight in weights):
        return None
    choose, judge = _halves(seen)
    peaks, largest = seen.peaks, np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    candidates = list(dict(_candidates(peaks, largest, alpha)).items())
    if not candidates:
        return None
    norms = [np.einsum("ij,ij->i", weight, weight, dtype=np.float64) for weight in weights]
    energies = [float(norm @ seen.power) for norm in norms]
    magnitudes = [np.abs(weight) for weight in weights]

    def estimate(exponents: tuple[int, ...]) -> float:
        factors = np.exp2(exponents)
        step = _steps(seen.low, seen.high, factors, per_batch)
        of_activation = [float((step**2).mean()) * float((factors**2) @ norm) for norm in norms]
        columns = [np.max(magnitude * factors[:, None].astype(np.float32), axis=0) / (2 ** (bits - 1) - 1) for magnitude in magnitudes]
        of_weight = [float((column.astype(np.float64) ** 2).sum()) * float((seen.power / factors**2).sum()) for column in columns]
        return sum((a + w) / max(energy, 1e-30) for a, w, energy in zip(of_activation, of_weight, energies, strict=True))

    ranked = sorted(candidates, key=lambda entry: estimate(entry[0]))[:MEASURED]
    errors = [_measured(choose, weights, exponents, bits, per_batch) for exponents, _ in ranked]
    exponents, form = ranked[int(np.argmin(errors))]
    neutral = (0,) * peaks.size
    return Found(
        exponents, form, _measured(judge, weights, neutral, bits, per_batch), _measured(judge, weights, exponents, bits, per_batch)
    )


def _candidates(peaks: np.ndarray, largest: np.ndarray, alpha: float | None) -> Iterator[tuple[tuple[int, ...], str]]:
    """Exponents and form; several forms may round to the same exponents."""
    used = (peaks > 0) & (largest > 0)
    if not used.any():
        return
    for power in ALPHAS if alpha is None else (alpha,):
        logs = np.zeros(peaks.size)
        logs[used] = power * np.log2(peaks[used]) - (1 - power) * np.log2(largest[used])
        logs[used] -= np.median(logs[used])
        yield from _rounded(logs, f"alpha {power:g}")
    for share in THRESHOLDS if alpha is None else ():
        logs = np.zeros(peaks.size)
        logs[used] = np.maximum(0, np.log2(peaks[used] / (peaks.max() * share)))
        yield from _rounded(logs, f"threshold {share:.3g}")


def _rounded(logs: np.ndarray, form: str) -> Iterator[tuple[tuple[int, ...], str]]:
    exponents = tuple(int(one) for one in np.clip(np.rint(logs), -20, 20))
    if any(exponents):
        yield exponents, form


def _halves(seen: Seen) -> tuple[Seen, Seen]:
    count = len(seen.rows)
    if count == 1:
        rows = seen.rows[0]
        return (
            Seen(seen.low, seen.high, seen.power, (rows[: (len(rows) + 1) // 2],)),
            Seen(seen.low, seen.high, seen.power, (rows[len(rows) // 2 :],)),
        )
    odd = np.arange(count) % 2 == 1
    return _some(seen, odd), _some(seen, ~odd)


def _some(seen: Seen, chosen: np.ndarray) -> Seen:
    return Seen(
        seen.low[chosen], seen.high[chosen], seen.power, tuple(rows for rows, is_in in zip(seen.rows, chosen, strict=True) if is_in)
    )


def _steps(low: np.ndarray, high: np.ndarray, factors: np.ndarray, per_batch: bool) -> np.ndarray:
    """The step of each batch, [batches]."""
    least, most = (low / factors).min(axis=1), (high / factors).max(axis=1)
    if not per_batch:
        least, most = np.full(len(least), least.min()), np.full(len(most), most.max())
    return (most - least) / 255


def _measured(seen: Seen, weights: Sequence[np.ndarray], exponents: tuple[int, ...], bits: int, per_batch: bool) -> float:
    """Relative error of the products, root of the mean square over readers."""
    factors = np.exp2(np.array(exponents, np.float32)).astype(np.float32)
    steps = _steps(seen.low, seen.high, factors.astype(np.float64), per_batch)
    least = (seen.low / factors).min(axis=1)
    least = least if per_batch else np.full(len(least), least.min())
    integers = [_quantized(rows / factors, float(step), float(start)) for rows, step, start in zip(seen.rows, steps, least, strict=True)]
    x, found = np.concatenate(seen.rows), np.concatenate(integers)
    shares: list[float] = []
    for weight in weights:
        stored = by_columns(weight, bits=bits, factors=factors)
        goal = x @ weight
        lost = found @ (stored.values * stored.scale).astype(np.float32) - goal
        shares.append(float(np.vdot(lost, lost)) / max(float(np.vdot(goal, goal)), 1e-30))
    return float(np.sqrt(np.mean(shares)))


def _quantized(rows: np.ndarray, step: float, start: float) -> np.ndarray:
    if step <= 0:
        return rows
    zero = np.clip(np.rint(-start / step), 0, 255)
    return ((np.clip(np.rint(rows / step) + zero, 0, 255) - zero) * step).astype(np.float32)
