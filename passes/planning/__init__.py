"""Four ways of telling a compressing pass how much, written once: a number for all sites, one by pattern, a threshold, a budget."""

from netwright.passes.planning.budget import QUANTITIES, Meter, budget_of, check_budget, limits_of
from netwright.passes.planning.patterns import PerSite, check_setting, first_match, setting_for, unmatched_patterns
from netwright.passes.planning.search import Search, least_that_fits
from netwright.passes.planning.sensitivity import relative_error

__all__ = [
    "QUANTITIES",
    "Meter",
    "PerSite",
    "Search",
    "budget_of",
    "check_budget",
    "check_setting",
    "first_match",
    "least_that_fits",
    "limits_of",
    "relative_error",
    "setting_for",
    "unmatched_patterns",
]
