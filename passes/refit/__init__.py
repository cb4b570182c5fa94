"""Weights solved anew, so that a changed program gives what the one before gave: least squares on calibration data, in stages."""

from netwright.passes.refit.anew import solve_anew
from netwright.passes.refit.bias import BiasPlace, bias_place
from netwright.passes.refit.patches import WIDEST, PatchSite
from netwright.passes.refit.site import Site
from netwright.passes.refit.solve import Solution

__all__ = ["WIDEST", "BiasPlace", "PatchSite", "Site", "Solution", "bias_place", "solve_anew"]
