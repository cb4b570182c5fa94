"""What the elements that stay become once others are zero: the optimum of what their layer gives on calibration data.

Of a layer's outputs W x + b only the elements outside the mask may still change. Optimal Brain Surgeon finds what they become one
element at a time (Hassibi & Stork, 1993), SparseGPT column by column for all rows at once (Frantar & Alistarh, arXiv 2301.00774). Here
the mask is known beforehand, and each row's least squares over its own elements are solved to the optimum (`solve_supported`), layer
after layer, on inputs as they come through the layers before, against what the whole program gave. As for removed units, the ridge is
chosen on held-out rows, and a layer that gains nothing there stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.zeros import with_kept_zeros
from netwright.passes.base import Proposals
from netwright.passes.prune.unstructured.sites import SparseSite, sites_by_name
from netwright.passes.refit import solve_anew
from netwright.passes.refit.bias import bias_place
from netwright.passes.refit.patches import WIDEST, PatchSite
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.editor import Editor
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.plan import Plan


@dataclass(frozen=True, slots=True, eq=False)
class SparsePatchSite(PatchSite):
    """A Conv, MatMul or Gemm some elements of whose weight are zero, and stay so."""

    def free(self, block: int) -> np.ndarray:
        """The elements that are not zero."""
        return self.layer.matrices()[block] != 0

    def apply(self, editor: Editor, deltas: Sequence[np.ndarray], shifts: Sequence[np.ndarray]) -> None:
        """New weight and bias."""
        now = self.layer.matrices()
        delta, shift = self.of_output(deltas, shifts)
        data = self.layer.with_matrices(np.where(now != 0, now + delta, 0.0))
        weight = self.layer.weight
        editor.set_constant(weight, with_kept_zeros(data, weight.name or ""))
        self.bias.add(editor, shift)


def update_weights(before: Program, program: Program, plan: Plan, context: Context) -> Proposals:
    """One rewrite for each weight of one linear layer that gains, in graph order; a Miss for each other weight of the plan.

    Args:
        before: the program with all its elements.
        program: the same with zeros.
        plan: names the weights.
        context: has the data.
    """
    was, now = sites_by_name(before), sites_by_name(program)
    chosen: list[SparsePatchSite] = []
    for name in plan.decisions:
        found = _site(was[name], now[name]) if name in was and name in now else None
        if isinstance(found, Miss):
            yield found
        elif found is not None:
            chosen.append(found)
    yield from solve_anew(before, program, chosen, context)


def _site(was: SparseSite, now: SparseSite) -> SparsePatchSite | Miss:
    if len(now.layers) != 1 or len(was.layers) != 1:
        reason = "several layers read it" if now.layers else "what reads it is no Conv, MatMul or Gemm of the main graph"
        return Miss(f"the elements that stay are not fitted: {reason}", now.name)
    layer, old = now.layers[0], was.layers[0]
    features = layer.channels * layer.taps
    if features > WIDEST:
        return Miss(f"the elements that stay are not fitted: {features} inputs are more than {WIDEST}", now.name)
    bias = bias_place(layer)
    name = bias.output.name or ""
    return SparsePatchSite(name, layer.node, old.node, layer, old, layer.data.name or "", bias, np.arange(layer.outputs))
