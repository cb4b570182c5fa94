"""Chosen ways as a plan's decisions, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from netwright.ir.errors import PlanError
from netwright.passes.factorize.lookup import Key
from netwright.passes.factorize.methods import METHODS
from netwright.passes.factorize.planning.choices import Choice
from netwright.passes.factorize.sites import FactorSite
from netwright.passes.factorize.structures import STRUCTURES
from netwright.passes.factorize.structures.base import Ranks
from netwright.passes.plan import Decision, Plan

INITS = ("weights", "spectral")


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """What is done at one site.

    Attributes:
        site: in the graph.
        structure: name of the decomposition.
        ranks: its inner sizes.
        method: how errors count.
        init: `weights`: factors give what the weight gave, as nearly as they can; `spectral`: scaled so that the product is as large.
    """

    site: FactorSite
    structure: str
    ranks: Ranks
    method: str
    init: str


def decide(site: FactorSite, choice: Choice, *, method: str, init: str) -> Decision:
    """A site's decision."""
    decision: dict[str, object] = {"kind": site.kind, "structure": choice.structure, "ranks": list(choice.ranks), "method": method}
    if init != "weights":
        decision["init"] = init
    if len(site.weights) > 1:
        decision["with"] = [weight.name or "" for weight in site.weights[1:]]
    return cast("Decision", decision)


def read(plan: Plan, sites: Mapping[Key, FactorSite]) -> list[Chosen]:
    """What a plan decides, in the order of its sites.

    Args:
        plan: decisions by name of a site's first weight.
        sites: of the program.

    Raises:
        PlanError: a decision names what is no site, or is not of the right form.
    """
    return [_read(name, decision, sites) for name, decision in plan.decisions.items()]


def _read(name: str, decision: Decision, sites: Mapping[Key, FactorSite]) -> Chosen:
    others = decision.get("with", [])
    structure, ranks, method, init = (decision.get(key) for key in ("structure", "ranks", "method", "init"))
    if (
        not isinstance(others, list)
        or structure not in STRUCTURES
        or not isinstance(ranks, list)
        or not all(_is_size(one) for one in ranks)
    ):
        raise PlanError(
            f"The decision of {name} needs a structure ({', '.join(STRUCTURES)}) and ranks as a list of numbers from 1.",
            place=name,
            remedy='Write {"structure": "low_rank", "ranks": [48]}.',
        )
    if init is not None and init not in INITS:
        raise PlanError(f"The decision of {name} has init {init!r}.", place=name, remedy=f"It is one of {', '.join(INITS)}.")
    if method is not None and method not in METHODS:
        raise PlanError(f"The decision of {name} has method {method!r}.", place=name, remedy=f"It is one of {', '.join(METHODS)}.")
    key = (name, *(str(other) for other in others))
    if key not in sites:
        raise PlanError(
            f"The plan factorizes {' with '.join(key)}, which is no site of this program.",
            place=name,
            remedy="A site is a weight that layers of the main graph multiply with; weights are joined only if they see the same data.",
        )
    sizes = tuple(int(cast("int", one)) for one in ranks)
    return Chosen(sites[key], str(structure), sizes, str(method or "svd"), str(init or "weights"))


def _is_size(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1
