"""Carrying decisions out: a rewrite for each site."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.editor import Editor
from netwright.passes.applying import apply_all
from netwright.passes.base import Proposals
from netwright.passes.factorize.evidence import Studied
from netwright.passes.factorize.lookup import key_of, sites_by_key
from netwright.passes.factorize.lowering import lower
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.planning.decisions import Chosen
from netwright.passes.factorize.sites import FactorSite, weight_of
from netwright.passes.factorize.structures import STRUCTURES
from netwright.passes.factorize.structures.product import product
from netwright.passes.factorize.structures.spectral import rescaled
from netwright.passes.rewrite import Miss, Rewrite

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.factorize.evidence import Study


def carry_out(decisions: Iterable[Chosen], studied: Study | None) -> Proposals:
    """A rewrite for each decision, in order.

    Args:
        decisions: what is done.
        studied: how errors count, and means; where not given, factors are those of the weights alone.
    """
    for chosen in in_order(decisions):
        own = None if studied is None else studied.sites.get(key_of(chosen.site))
        yield _rewrite(chosen, own if own is not None else Studied(Operator(chosen.site.kind, weight_of(chosen.site), chosen.site.groups)))


def in_order(decisions: Iterable[Chosen]) -> list[Chosen]:
    """Weights of recurrent states last: what is done to them takes the layer apart."""
    return sorted(decisions, key=lambda chosen: chosen.site.kind == "state")


def _rewrite(chosen: Chosen, own: Studied) -> Rewrite | Miss:
    site = chosen.site
    refused = STRUCTURES[chosen.structure].refusal(own.operator)
    if refused is not None:
        return Miss(f"left whole: {refused}", site.name)
    decomposition = own.decomposition(chosen.structure)
    factors = decomposition.factors(chosen.ranks)
    if chosen.init == "spectral":
        factors = rescaled(factors, own.operator)
    made = product(factors, own.operator)
    lost = own.operator.energy(own.operator.weight - made)
    shift = None if chosen.init == "spectral" else _at_output(site, own.shift(made))
    share = lost / own.energy if own.energy > 0 else 0.0
    why = _why(chosen, factors.parameters, share)

    def change(editor: Editor) -> None:
        lower(editor, site, factors, shift)

    return Rewrite.edit(site.name, why, change, anchor=site.readers[0].node)


def _at_output(site: FactorSite, shift: np.ndarray | None) -> np.ndarray | None:
    """A shift of W x as one of what readers make of it: a Gemm multiplies by alpha."""
    if shift is None:
        return None
    assert site.gains is not None, "where readers differ, no mean is left to biases"
    scaled = shift.copy()
    for (start, stop), gain in site.gains.items():
        scaled[start:stop] *= gain
    return scaled


def _why(chosen: Chosen, parameters: int, share: float) -> str:
    sizes = "×".join(str(rank) for rank in chosen.ranks)
    numbers = f"{parameters:,} parameters instead of {chosen.site.parameters:,}"
    if chosen.structure == "expanded":
        return f"expanded to {sizes}: {numbers}, the same product"
    kept = "scaled to the weight's size" if chosen.init == "spectral" else f"{share:.2%} of the output's energy lost"
    return f"{chosen.structure} of rank {sizes} by {chosen.method}: {numbers}, {kept}"


def carried(program: Program, decisions: Iterable[Chosen], studied: Study) -> Program:
    """A clone with factors, to be tried.

    Args:
        program: left as it is.
        decisions: with sites of it.
        studied: what is known of them.
    """
    clone = program.clone()
    sites = sites_by_key(clone)
    apply_all(clone, carry_out([replace(one, site=sites[key_of(one.site)]) for one in decisions], studied))
    return clone


def skeleton(program: Program, decisions: Iterable[Chosen], studied: Study) -> Program:
    """A clone with factors of the right shapes and no meaning: for counting and timing.

    Args:
        program: left as it is.
        decisions: with sites of it.
        studied: knows the decompositions.
    """
    clone = program.clone()
    sites = sites_by_key(clone)
    for chosen in in_order(decisions):
        own = studied.sites[key_of(chosen.site)]
        site = sites[key_of(chosen.site)]
        shapes = own.decomposition(chosen.structure).shapes(chosen.ranks)
        with Editor(clone, at=site.readers[0].node) as editor:
            lower(editor, site, shapes)
    return clone
