"""Where the operators are that can be factorized, and what their weights are."""

from netwright.passes.factorize.sites.find import LEAST_ELEMENTS, find_factor_sites
from netwright.passes.factorize.sites.joint import as_one, joined
from netwright.passes.factorize.sites.site import FactorSite, Reader
from netwright.passes.factorize.sites.weights import in_operator_layout, reads_as_stored, weight_of

__all__ = [
    "LEAST_ELEMENTS",
    "FactorSite",
    "Reader",
    "as_one",
    "find_factor_sites",
    "in_operator_layout",
    "joined",
    "reads_as_stored",
    "weight_of",
]
