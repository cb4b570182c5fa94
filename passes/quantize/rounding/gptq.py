"""GPTQ: columns are rounded one after the other, and those to come make up for the error (Frantar et al., 2022).

With H = E[x xᵀ] the expected squared error of the outputs is tr(ΔW H ΔWᵀ). Rounding column j with an error of e costs least when the
columns after it move by −e U_j,k / U_jj, H⁻¹ = Uᵀ U, U upper triangular. Columns that carry most (largest H_jj) come first; grids are fixed
before, so that the order is free. What no row has ever excited (H_jj = 0) is rounded to the nearest.
"""
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
from scipy.linalg import get_lapack_funcs

from netwright.ir.errors import RunError
from netwright.passes.quantize.rounding.grid import Grid

DAMPING = 0.01
"""Added to the diagonal of H, as a share of its mean; ten times as much where that is not enough."""

COLUMNS = 32
"""Columns between two updates of all columns to come."""

PART_ELEMENTS = 1 << 22
"""Elements rounded at a time: rows do not depend on each other."""


class _Triangle(Protocol):
    """The part of LAPACK's `potrf` and `trtri` that is used, whose own signatures have no types."""

    def __call__(self, a: np.ndarray, *, lower: int) -> tuple[np.ndarray, int]: ...


def gptq(matrix: np.ndarray, second: np.ndarray, grid: Grid) -> np.ndarray:
    """Round a matrix.

    Time grows with outputs · features² and with features³; a second or two for 4096 x 4096.

    Args:
        matrix: W, [outputs, features], finite.
        second: E[x xᵀ], [parts, features / parts, features / parts]: see `Evidence`.
        grid: of the matrix.

    Returns:
        Integers, float32 [outputs, features].
    """
    parts, width = second.shape[0], second.shape[1]
    stacks = matrix.shape[1] // width  # of features, side by side; the other parts are of outputs
    result = np.empty(matrix.shape, np.float32)
    order = np.argsort(-np.diagonal(second, axis1=1, axis2=2), axis=1, kind="stable")
    factors = np.stack([_inverse_factor(one[np.ix_(way, way)]) for one, way in zip(second, order, strict=True)])
    groups = parts // stacks
    members = matrix.shape[0] // groups
    height = max(1, PART_ELEMENTS // max(1, width * parts))
    for rows in (slice(start, start + height) for start in range(0, members, height)):
        chosen = np.arange(len(matrix)).reshape(groups, members)[:, rows].reshape(-1)
        step, middle = (np.broadcast_to(one, (len(chosen), matrix.shape[1])) for one in _of(grid, chosen).spread(matrix.shape[1]))
        arranged = [_arranged(one, groups, stacks, order) for one in (matrix[chosen].astype(np.float32), step, middle)]
        found = _rounded(arranged[0], factors, arranged[1], arranged[2], grid.low, grid.high)
        result[chosen] = _restored(found, groups, stacks, order)
    return result


def _of(grid: Grid, chosen: np.ndarray) -> Grid:
    return Grid(grid.step[chosen], grid.middle[chosen], grid.low, grid.high, grid.block_size)


def _arranged(rows: np.ndarray, groups: int, stacks: int, order: np.ndarray) -> np.ndarray:
    """[groups * rows, stacks * width] as [groups * stacks, width, rows], columns in order."""
    cut = rows.reshape(groups, -1, stacks, order.shape[1]).transpose(0, 2, 3, 1).reshape(groups * stacks, order.shape[1], -1)
    return np.take_along_axis(cut, order[:, :, None], axis=1)


def _restored(found: np.ndarray, groups: int, stacks: int, order: np.ndarray) -> np.ndarray:
    """The inverse of `_arranged`."""
    back = np.empty_like(found)
    np.put_along_axis(back, order[:, :, None], found, axis=1)
    return back.reshape(groups, stacks, order.shape[1], -1).transpose(0, 3, 1, 2).reshape(groups * found.shape[2], -1)


def _rounded(left: np.ndarray, factors: np.ndarray, step: np.ndarray, middle: np.ndarray, low: int, high: int) -> np.ndarray:
    """Round [parts, width, rows], which is overwritten; U: [parts, width, width]."""
    integers = np.empty_like(left)
    width = left.shape[1]
    for start in range(0, width, COLUMNS):
        stop = min(start + COLUMNS, width)
        errors = np.empty((left.shape[0], stop - start, left.shape[2]), np.float32)
        for column in range(start, stop):
            own, its_step, its_middle = left[:, column], step[:, column], middle[:, column]
            chosen = np.clip(np.rint(own / its_step) + its_middle, low, high)
            error = (own - (chosen - its_middle) * its_step) / factors[:, column, column, None]
            integers[:, column], errors[:, column - start] = chosen, error
            left[:, column + 1 : stop] -= factors[:, column, column + 1 : stop, None] * error[:, None]
        left[:, stop:] -= factors[:, start:stop, stop:].transpose(0, 2, 1) @ errors
    return integers


def _inverse_factor(second: np.ndarray) -> np.ndarray:
    """U of H⁻¹ = Uᵀ U, float32: of H = R Rᵀ, R upper triangular (a Cholesky factor from the last column on), U = R⁻¹.

    Raises:
        RunError: H is not a second moment of finite numbers.
    """
    potrf, trtri = cast("list[_Triangle]", get_lapack_funcs(("potrf", "trtri"), dtype=np.float64))
    diagonal = np.diagonal(second).astype(np.float64)
    seen = diagonal[diagonal > 0]
    mean = float(seen.mean()) if seen.size else 1.0
    for damping in (DAMPING, 10 * DAMPING, 100 * DAMPING):
        damped = second.astype(np.float64)
        damped[np.diag_indices_from(damped)] = np.where(diagonal > 0, diagonal + damping * mean, mean)
        lower, failed = potrf(np.asfortranarray(damped[::-1, ::-1]), lower=1)
        if failed:
            continue
        inverse, failed = trtri(lower, lower=1)
        if not failed and np.isfinite(inverse).all():
            return np.ascontiguousarray(np.tril(inverse)[::-1, ::-1], np.float32)
    raise RunError("Second moments of activations are not positive definite.", place="gptq", remedy="Look for infinite activations.")
