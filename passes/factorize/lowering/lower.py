"""A site's readers replaced by a chain of stages, each kind of operator in its own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from netwright.ir.editor import Editor
from netwright.ir.errors import PlanError
from netwright.passes.factorize.factors import Factors
from netwright.passes.factorize.lowering.absorb import absorbed
from netwright.passes.factorize.lowering.convolution import conv_refusal, lower_conv
from netwright.passes.factorize.lowering.product import lower_product, product_refusal
from netwright.passes.factorize.lowering.recurrent import lower_recurrent, recurrent_refusal
from netwright.passes.factorize.lowering.state import lower_state, state_refusal
from netwright.passes.factorize.operator import Kind
from netwright.passes.factorize.sites.site import FactorSite

Shift = np.ndarray | None


def unlowerable(site: FactorSite, factors: Factors) -> str | None:
    """Why a site's readers cannot become such a chain, as the end of a sentence; None where they can.

    Only the shapes of the factors count (`Decomposition.shapes`).
    """
    if not factors.stages:
        return "the chain has no stages"
    return _REFUSALS[site.kind](site, absorbed(factors))


def lower(editor: Editor, site: FactorSite, factors: Factors, shift: Shift = None) -> None:
    """Put a chain of stages in the place of every reader of a site's weights.

    The stages are stored once, in the weight's own type, whoever reads them: two stages of low rank, W ≈ U V, as `{weight}.u` and
    `{weight}.v`, others as `{weight}.0`, `{weight}.1`, … in the order in which they are applied; of joined weights the last stage is cut
    into each weight's rows. Where it is true, value maps say that they are factors of the old weight (`Factor`, with the projections that
    lead there, unless they are the plain ones); of what has no such map they say that it is gone.

    Recurrent weights are to be lowered before the state's weights of the same layer, which take the layer apart.

    Args:
        editor: of the program that the site was found in; new nodes inherit the provenance of the readers that they replace.
        site: what is replaced.
        factors: by what; what gain a Gemm has (alpha) is not part of them.
        shift: [outputs], added to the bias, wherever it is; one is made where there is none.

    Raises:
        PlanError: the site cannot take such a chain (`unlowerable`).
    """
    reason = unlowerable(site, factors)
    if reason is not None:
        raise PlanError(f"{site.name} cannot become {factors.structure}: {reason}.", place=site.name, remedy="Choose another structure.")
    _LOWERINGS[site.kind](editor, site, absorbed(factors), shift if shift is not None and shift.any() else None)
    for weight in site.weights:
        if weight.graph is not None and not weight.uses() and not weight.is_graph_output():
            editor.remove_initializer(weight)


_REFUSALS: Mapping[Kind, Callable[[FactorSite, Factors], str | None]] = {
    "linear": product_refusal,
    "table": product_refusal,
    "conv": conv_refusal,
    "deconv": conv_refusal,
    "recurrent": recurrent_refusal,
    "state": state_refusal,
}

_LOWERINGS: Mapping[Kind, Callable[[Editor, FactorSite, Factors, Shift], None]] = {
    "linear": lower_product,
    "table": lower_product,
    "conv": lower_conv,
    "deconv": lower_conv,
    "recurrent": lower_recurrent,
    "state": lower_state,
}
