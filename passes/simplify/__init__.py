"""Simplification: one file per family of rules."""

from netwright.passes.simplify.simplify import Simplify

__all__ = ["Simplify"]
