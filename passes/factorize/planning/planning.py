"""From options to a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from netwright.ir.fingerprint import fingerprint
from netwright.passes.factorize.evidence import Study, study
from netwright.passes.factorize.methods import METHODS
from netwright.passes.factorize.planning.budget import Ways, by_ratio, by_saving, fit_budget
from netwright.passes.factorize.planning.choices import Candidate, Choice, candidates
from netwright.passes.factorize.planning.decisions import decide
from netwright.passes.factorize.planning.faster import only_faster
from netwright.passes.factorize.planning.joining import choose_joined, with_joined
from netwright.passes.factorize.planning.sensitivity import sensitivities
from netwright.passes.factorize.planning.settings import by_setting, expanded
from netwright.passes.factorize.planning.timed import learn_most
from netwright.passes.factorize.sites import FactorSite, find_factor_sites
from netwright.passes.plan import Plan
from netwright.passes.planning import Meter, PerSite, budget_of, first_match, unmatched_patterns
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.factorize.factorize import Factorize


def make_plan(options: Factorize, program: Program, context: Context) -> Plan:
    """Look at all sites, learn what errors cost there, and choose.

    Args:
        options: the pass.
        program: left as it is.
        context: data, executor, timer, trainer, as the options need them.
    """
    method = options.method or ("whitened" if context.has("calibration") and context.has("executor") and not options.expand else "svd")
    sites, misses = _sites(options, program)
    weighing = "none" if options.expand else METHODS[method].weighing_in(context)
    joins = options.joint is not False and not options.expand and "low_rank" in METHODS[method].structures
    studied = study(program, with_joined(sites) if joins else sites, weighing, context, centre=options.correct_bias)
    if weighing != "none":
        unseen = [site for site in sites if not studied.of(site).seen]
        misses.extend(Miss("its factors are those of the weight alone: nothing is known of what it sees", site.name) for site in unseen)
    if joins:
        sites = choose_joined(sites, studied, joint=options.joint)
    structures = _structures(options, method)
    found = candidates(program, sites, studied, structures, context.dims, options.round_to)
    misses.extend(one for one in found if isinstance(one, Miss))
    able = [one for one in found if isinstance(one, Candidate)]
    if _asks_for_speed(options, context) and context.timer is not None:
        able, slower = only_faster(program, able, context.timer)
        misses.extend(slower)
    ways, more, told = _choose(options, program, context, able, studied, method)
    misses.extend(more)
    misses.extend(_strangers(options, able))
    named = {one.site.name: one for one in able}
    decisions = {name: decide(named[name].site, choice, method=method, init=options.init) for name, choice in _in_order(ways, able)}
    return Plan(
        pass_name=options.name,
        fingerprint=fingerprint(program),
        decisions=decisions,
        misses=tuple(misses),
        note="; ".join(filter(None, (_summary(ways, able, method, expand=options.expand), told))),
        evidence=studied,
    )


def _asks_for_speed(options: Factorize, context: Context) -> bool:
    if options.faster is not None or options.expand:
        return bool(options.faster)
    said = (options.rank, options.ratio, options.energy, options.budget, options.ranks)
    budget = options.budget if any(one is not None for one in said) else context.budget
    return "latency_ms" in (budget or {})


def _structures(options: Factorize, method: str) -> tuple[str, ...]:
    if options.expand:
        return ("expanded",)
    found = METHODS[method].structures
    return tuple("low_rank3" if one == "low_rank" and options.factors == 3 else one for one in found)


def _sites(options: Factorize, program: Program) -> tuple[list[FactorSite], list[Miss]]:
    """The sites that may be factorized, and why the others may not."""
    found = find_factor_sites(program, recurrent=options.recurrent)
    sites: list[FactorSite] = []
    misses: list[Miss] = []
    for one in found:
        if isinstance(one, Miss):
            misses.append(one)
        elif (pattern := first_match(options.exclude, one.names)) is not None:
            misses.append(Miss(f"left whole: exclude names it ('{pattern}')", one.name))
        else:
            sites.append(one)
    known = [one.names if isinstance(one, FactorSite) else (one.site,) for one in found]
    misses.extend(
        Miss(f"exclude names no weight or module with '{pattern}'", pattern) for pattern in unmatched_patterns(options.exclude, known)
    )
    return sites, misses


def _choose(
    options: Factorize, program: Program, context: Context, able: Sequence[Candidate], studied: Study, method: str
) -> tuple[Ways, Sequence[Miss], str]:
    """The way of each site that is factorized, why the others are not, and a note."""
    if options.expand:
        return *expanded(able, options.inner, options.factors), ""
    if options.rank is not None or options.energy is not None:
        return *by_setting(able, rank=options.rank, energy=options.energy), ""
    if isinstance(options.ratio, Mapping) or (options.ratio is not None and options.allocation != "global"):
        return *by_setting(able, ratio=options.ratio), ""
    if options.ranks == "timed":
        return learn_most(options, program, able, studied, context, method)
    cost = _cost(options, context)
    if options.allocation == "uniform":
        choose: Callable[[float], Ways] = lambda fraction: by_ratio(able, fraction)  # noqa: E731
    else:
        weights = sensitivities(program, able, studied, context) if options.sensitivity and _has_data(context) else {}
        usual = _median(weights.values())
        choose = by_saving(able, {one.site.name: weights.get(one.site.name, usual) for one in able}, cost)
    if options.ratio is not None:
        ways, told = choose(options.ratio), ""
    else:
        fitted = fit_budget(
            program,
            able,
            studied,
            budget_of(options.budget, context, place=options.name),
            Meter(context),
            choose,
            original=context.original or program,
        )
        ways, told = fitted.ways, fitted.note
    why = told or "the ratio"
    whole = [Miss(f"left whole: {why} is kept without it", one.site.name) for one in able if one.site.name not in ways]
    return ways, whole, told


def _has_data(context: Context) -> bool:
    return context.has("calibration") and context.has("executor")


def _median(numbers: Iterable[float]) -> float:
    listed = sorted(numbers)
    return listed[len(listed) // 2] if listed else 1.0


def _cost(options: Factorize, context: Context) -> Callable[[Choice], float]:
    """What global allocation saves: work, where work or time is limited, else parameters."""
    budget = options.budget or context.budget or {}
    by_work = options.ratio is None and ("macs" in budget or "latency_ms" in budget)
    return (lambda choice: choice.macs) if by_work else (lambda choice: float(choice.parameters))


def _strangers(options: Factorize, able: Sequence[Candidate]) -> list[Miss]:
    """A miss for each pattern that names no site: a typing error, most often."""
    given: Mapping[str, PerSite | None] = {"rank": options.rank, "ratio": options.ratio, "energy": options.energy}
    patterns = [(name, pattern) for name, setting in given.items() if isinstance(setting, Mapping) for pattern in setting]
    unmatched = unmatched_patterns([pattern for _, pattern in patterns], [one.site.names for one in able])
    return [Miss(f"{name} names no site with '{pattern}'", pattern) for name, pattern in patterns if pattern in unmatched]


def _in_order(ways: Ways, able: Sequence[Candidate]) -> list[tuple[str, Choice]]:
    return [(one.site.name, ways[one.site.name]) for one in able if one.site.name in ways]


def _summary(ways: Ways, able: Sequence[Candidate], method: str, *, expand: bool) -> str:
    whole = sum(one.whole.parameters for one in able)
    if not able:
        return "there is no site that could be factorized"
    left = whole - sum(one.whole.parameters - ways[one.site.name].parameters for one in able if one.site.name in ways)
    by = "expanded" if expand else f"by {method}"
    return f"{len(ways)} of {len(able)} sites {by}: {whole:,} → {left:,} parameters"
