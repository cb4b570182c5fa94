"""Steps that make integers more accurate, composed and judged."""

from netwright.passes.quantize.recipes.improved import RECIPES, Carry, Pace, Trial, improved
from netwright.passes.quantize.recipes.judge import Judge, split
from netwright.passes.quantize.recipes.steps import Candidate, Grids

__all__ = ["RECIPES", "Candidate", "Carry", "Grids", "Judge", "Pace", "Trial", "improved", "split"]
