"""Pruning: units of coupling groups taken out, or single weights made zero."""

from netwright.passes.prune.prune import Prune

__all__ = ["Prune"]
