"""Deciding how many elements of each weight become zero, and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.cost.params import parameters
from netwright.ir.fingerprint import fingerprint
from netwright.passes.plan import Decision, Plan
from netwright.passes.planning import first_match, setting_for, unmatched_patterns
from netwright.passes.prune.pattern import read_pattern
from netwright.passes.prune.unstructured.choice import Sparse
from netwright.passes.prune.unstructured.inputs import input_norms
from netwright.passes.prune.unstructured.sites import SparseSite, find_sparse_sites
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.prune.prune import Prune

_DIGITS = 6
"""Significant digits of norms in a plan."""


def plan_sparse(options: Prune, program: Program, context: Context) -> Plan:
    """One decision for each weight. Runs the program over the calibration data once, where activations count."""
    found = find_sparse_sites(program)
    misses = [entry for entry in found if isinstance(entry, Miss)]
    chosen: dict[SparseSite, float] = {}
    for site in (entry for entry in found if isinstance(entry, SparseSite)):
        share = _share(options, site)
        if isinstance(share, str):
            misses.append(Miss(share, site.name))
        else:
            chosen[site] = share
    norms = _norms(options, program, context, list(chosen))
    decisions = {site.name: _choice(options, site, share, norms.get(site)).decision() for site, share in chosen.items()}
    if options.sparsity is not None and not isinstance(options.sparsity, int | float):
        sites = [entry.names for entry in found if isinstance(entry, SparseSite)]
        misses.extend(Miss(f"sparsity names no weight with '{name}'", name) for name in unmatched_patterns(options.sparsity, sites))
    return Plan(
        pass_name=options.name,
        fingerprint=fingerprint(program),
        decisions=decisions,
        misses=tuple(misses),
        note=_note(program, chosen, decisions),
    )


def _share(options: Prune, site: SparseSite) -> float | str:
    """The fraction of a weight that goes, or why none does."""
    pattern = first_match(options.exclude, site.names)
    if pattern is not None:
        return f"left whole: exclude names it ('{pattern}')"
    if options.pattern is not None:
        kept, among = read_pattern(options.pattern)
        if site.in_axis is None:
            return f"left whole: its readers sum over different axes, and a pattern of {options.pattern} lies along one"
        inputs = site.shape[site.in_axis]
        return 1 - kept / among if inputs % among == 0 else f"left whole: its {inputs} inputs are no multiple of {among}"
    share = setting_for(0.0 if options.sparsity is None else options.sparsity, site.names)
    if share is None:
        return "left whole: no pattern of sparsity names it"
    return share if round(share * int(np.prod(site.shape))) else f"left whole: {share:g} of its elements is none"


def _norms(options: Prune, program: Program, context: Context, sites: list[SparseSite]) -> dict[SparseSite, np.ndarray]:
    wanted = options.importance == "activation" or (options.importance is None and context.calibration is not None)
    if not wanted or context.calibration is None or context.executor is None:
        return {}
    return input_norms(program, context, [site for site in sites if site.layers])


def _choice(options: Prune, site: SparseSite, share: float, norms: np.ndarray | None) -> Sparse:
    pattern = options.pattern or ""
    if norms is None:
        return Sparse(share, pattern)
    return Sparse(share, pattern, "activation", tuple(float(f"{norm:.{_DIGITS}g}") for norm in norms.reshape(-1)))


def _note(program: Program, chosen: dict[SparseSite, float], decisions: dict[str, Decision]) -> str:
    """What will be zero, of what, and by what."""
    sizes = {site: int(np.prod(site.shape)) for site in chosen}
    zeros, total = sum(round(share * sizes[site]) for site, share in chosen.items()), sum(sizes.values())
    if not total:
        return "there is no weight whose elements could become zero"
    every = sum(parameters(program).values())
    by = sum(decision["criterion"] == "activation" for decision in decisions.values())
    criteria = [f"{count} by {name}" for count, name in ((by, "activation"), (len(decisions) - by, "magnitude")) if count]
    return (
        f"{zeros:,} of {total:,} elements of {len(decisions)} weights become zero ({', '.join(criteria)}), {zeros / every:.1%} of the "
        f"model's {every:,} parameters; runtimes without sparse kernels are no faster for it"
    )
