"""What the elements that stay become once others are zero: the optimum of what a layer gives on calibration data.

Of each layer's outputs W x only the elements outside the mask may still change. With H = E[x xᵀ], [features, features], those that
minimise E|(W − W′) x|² = tr (W − W′) H (W − W′)ᵀ solve a linear system for each row. Optimal Brain Surgeon solves it one element at a
time (Hassibi & Stork, 1993), SparseGPT column by column for all rows at once, each column once (Frantar & Alistarh, arXiv 2301.00774).
Here the mask is known beforehand, so that conjugate gradients, all rows side by side, go to the optimum itself: each step costs one
product with H, and leaves the error no larger than before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.zeros import with_kept_zeros
from netwright.passes.base import Proposals
from netwright.passes.prune.unstructured.inputs import input_moments
from netwright.passes.prune.unstructured.sites import SparseSite, sites_by_name
from netwright.passes.rewrite import Miss, Rewrite

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.plan import Plan

RIDGE = 0.01
"""Weight of |W − W′|² beside the data's, as a share of the mean of H's diagonal."""
STEPS = 100
"""Conjugate gradient steps at most."""
TOLERANCE = 1e-3
"""A row whose gradient has fallen to this share of its first is done."""
MOMENT_BYTES = 1 << 29
"""How much second moments may take at once; more layers take more passes over the data."""


def update_weights(before: Program, program: Program, plan: Plan, context: Context) -> Proposals:
    """One rewrite for each weight that linear layers read, in graph order.

    Args:
        before: the program with all its elements.
        program: the same with zeros.
        plan: names the weights.
        context: has the data.
    """
    sites, now = sites_by_name(before), sites_by_name(program)
    chosen = [sites[name] for name in plan.decisions if name in sites]
    for site in chosen:
        if not site.layers:
            yield Miss("its other elements stay as they are: not all that reads it is MatMul, Gemm or Conv of one kind", site.name)
    for batch in _batches([site for site in chosen if site.layers]):
        moments = input_moments(before, context, {layer: site for site in batch for layer in site.layers})
        for site in batch:
            hessians = np.stack([one.raw() for one in moments[site]])
            yield _fitted(site, now[site.name], hessians)


def _batches(sites: Sequence[SparseSite]) -> Iterator[list[SparseSite]]:
    """Sites whose second moments fit into memory together."""
    batch: list[SparseSite] = []
    held = 0
    for site in sites:
        layer = site.layers[0]
        needed = 8 * layer.groups * (layer.channels * layer.taps) ** 2
        if batch and held + needed > MOMENT_BYTES:
            yield batch
            batch, held = [], 0
        batch.append(site)
        held += needed
    if batch:
        yield batch


def _fitted(site: SparseSite, now: SparseSite, hessians: np.ndarray) -> Rewrite | Miss:
    """The rewrite of one weight: `site` is what it was, `now` what it is."""
    full, masked = site.layers[0].matrices(), now.layers[0].matrices()
    kept = masked != 0
    found = np.stack([refit(w, stays, h) for w, stays, h in zip(full, kept, hessians, strict=True)])
    was, left, whole = (_energy(part, hessians) for part in (full - masked, full - found, full))
    if not left < was:
        return Miss("its other elements stay as they are: fitting them would gain nothing on this data", site.name)
    why = f"fitted to what it gave: the relative error of its outputs falls from {np.sqrt(was / whole):.3g} to {np.sqrt(left / whole):.3g}"
    data = now.layers[0].with_matrices(np.where(kept, found, 0.0))
    return Rewrite.edit(site.name, why, lambda editor: editor.set_constant(now.value, with_kept_zeros(data, site.name)))


def refit(weight: np.ndarray, kept: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """The matrix, zero outside `kept`, that is nearest to a weight in what it gives.

    Args:
        weight: W, [rows, features], float64.
        kept: elements that may differ from zero.
        hessian: E[x xᵀ], [features, features].

    Returns:
        W′, [rows, features].
    """
    damped = hessian + np.eye(len(hessian)) * max(RIDGE * float(np.trace(hessian)) / len(hessian), np.finfo(float).tiny)
    inverse_diagonal = 1 / np.diag(damped)
    found = np.where(kept, weight, 0.0)
    residual = np.where(kept, (weight - found) @ damped, 0.0)
    scaled = residual * inverse_diagonal
    direction = scaled.copy()
    slope = np.einsum("rf,rf->r", residual, scaled)
    enough = slope * TOLERANCE**2
    for _ in range(STEPS):
        open_rows = slope > enough
        if not open_rows.any():
            break
        along = np.where(kept, direction @ damped, 0.0)
        curvature = np.einsum("rf,rf->r", direction, along)
        step = np.divide(slope, curvature, out=np.zeros_like(slope), where=open_rows & (curvature > 0))[:, None]
        found += step * direction
        residual -= step * along
        scaled = residual * inverse_diagonal
        renewed = np.einsum("rf,rf->r", residual, scaled)
        direction = scaled + np.divide(renewed, slope, out=np.zeros_like(slope), where=open_rows)[:, None] * direction
        slope = renewed
    return found


def _energy(matrices: np.ndarray, hessians: np.ndarray) -> float:
    """E|M x|², over all groups."""
    return float(np.einsum("grf,gfe,gre->", matrices, hessians, matrices, optimize=True))
