"""How much the loss feels errors at each input of an operator: squared gradients of its weight (FWSVD)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.errors import ContractError
from netwright.passes.factorize.lookup import Key, key_of
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.sites import FactorSite, in_operator_layout
from netwright.passes.factorize.sites.weights import stored_as_operator
from netwright.passes.statistics import pieces

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context

ROWS = 256
"""Rows whose squared gradients are averaged."""


def squared_gradients(program: Program, sites: Sequence[FactorSite], context: Context) -> dict[Key, np.ndarray]:
    """For each site, by its weights' names, Σ over outputs of E[g²], [groups, features]; sites whose weights are not trained are left out.

    Args:
        program: left as it is.
        sites: of it.
        context: training data, gradients and a loss.

    Raises:
        ContractError: no loss.
    """
    assert context.gradients is not None, "checked before"
    assert context.training is not None, "checked before"
    if context.loss is None:
        raise ContractError("method='fisher' needs a loss.", place="factorize", remedy="Give loss='cross_entropy' (--loss).")
    trained = context.gradients.weights(program)
    able = [site for site in sites if all(weight.name in trained for weight in site.weights)]
    names = list(dict.fromkeys(weight.name or "" for site in able for weight in site.weights))
    if not names:
        return {}
    rows = pieces(program, context.training, rows=1, most=ROWS, seed=context.seed)
    squares = context.gradients.squares(program, rows, context.loss, names)
    found: dict[Key, np.ndarray] = {}
    for site in able:
        parts = [
            in_operator_layout(squares[weight.name or ""].astype(np.float64), site.kind, as_stored=stored_as_operator(site, weight))
            for weight in site.weights
        ]
        array = parts[0] if len(parts) == 1 else np.concatenate(parts)
        summed = Operator(site.kind, array, site.groups).matrices().sum(axis=1)
        found[key_of(site)] = summed
    return found
