"""The rewrites of a plan of single weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.errors import PlanError
from netwright.ir.program import array
from netwright.ir.zeros import with_kept_zeros
from netwright.passes.base import Proposals
from netwright.passes.prune.pattern import read_pattern
from netwright.passes.prune.unstructured.choice import Sparse, read_sparse
from netwright.passes.prune.unstructured.masks import lowest_in_rows, lowest_share
from netwright.passes.prune.unstructured.sites import SparseSite, sites_by_name
from netwright.passes.rewrite import Rewrite

if TYPE_CHECKING:
    from netwright.ir.editor import Editor
    from netwright.ir.program import Program
    from netwright.passes.plan import Plan


def carry_out_sparse(program: Program, plan: Plan) -> Proposals:
    """One rewrite for each weight.

    Raises:
        PlanError: the plan names weights that are not there, or decides what does not fit them.
    """
    sites = sites_by_name(program)
    missing = next((name for name in plan.decisions if name not in sites), None)
    if missing is not None:
        raise PlanError(
            f"The plan decides on %{missing}, which is no weight of a layer here.",
            place=missing,
            remedy="Take it out of the plan, or make the plan again with --save-plans.",
        )
    choices = {name: read_sparse(name, decision) for name, decision in plan.decisions.items()}
    for name, choice in choices.items():
        yield _rewrite(sites[name], choice)


def _rewrite(site: SparseSite, choice: Sparse) -> Rewrite:
    data = _elements(site)
    gone = mask_of(site, choice, data)
    share = np.count_nonzero(gone) / gone.size
    by = "|w| · ‖x‖" if choice.criterion == "activation" else "|w|"
    shape = f", {choice.pattern}" if choice.pattern else ""
    why = f"{np.count_nonzero(gone):,} of {gone.size:,} elements are zero, {share:.1%}{shape}, the smallest by {by}"

    def change(editor: Editor) -> None:
        editor.set_constant(site.value, with_kept_zeros(np.where(gone, np.zeros((), data.dtype), data), site.name))

    return Rewrite.edit(site.name, why, change)


def mask_of(site: SparseSite, choice: Sparse, data: np.ndarray) -> np.ndarray:
    """True where an element of the weight goes.

    Raises:
        PlanError: norms or a pattern that do not fit the weight.
    """
    scores = np.abs(data.astype(np.float64))
    if choice.norms:
        scores = scores * _along(site, np.array(choice.norms))
    if not choice.pattern:
        return lowest_share(scores, choice.sparsity)
    kept, among = read_pattern(choice.pattern)
    if site.in_axis is None or site.shape[site.in_axis] % among:
        raise PlanError(f"A pattern of {choice.pattern} does not fit %{site.name}.", place=site.name, remedy="Write a sparsity alone.")
    return lowest_in_rows(scores, kept, among, site.in_axis)


def _along(site: SparseSite, norms: np.ndarray) -> np.ndarray:
    """Norms in a shape that broadcasts against the weight."""
    layer = site.layers[0] if site.layers else None
    if layer is None or norms.size != layer.groups * layer.channels:
        had = "none" if layer is None else f"{layer.groups * layer.channels}"
        raise PlanError(
            f"The plan has {norms.size} norms for %{site.name}, whose layers have {had} inputs to speak of.",
            place=site.name,
            remedy="Make the plan again for this program, or write criterion 'magnitude' without norms.",
        )
    rank = len(site.shape)
    if layer.window is None:
        return norms.reshape([-1 if axis == layer.in_axis else 1 for axis in range(rank)])
    by_row = np.repeat(norms.reshape(layer.groups, layer.channels), layer.outputs // layer.groups, axis=0)
    return by_row.reshape(*by_row.shape, *(1,) * (rank - 2))


def _elements(site: SparseSite) -> np.ndarray:
    data = array(site.value)
    assert data is not None, "found by being constant"
    return data
