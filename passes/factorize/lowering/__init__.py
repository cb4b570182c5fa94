"""Factors into nodes: each reader of a weight is replaced by a chain of thinner layers."""

from netwright.passes.factorize.lowering.folded import CHAIN
from netwright.passes.factorize.lowering.lower import lower, unlowerable

__all__ = ["CHAIN", "lower", "unlowerable"]
