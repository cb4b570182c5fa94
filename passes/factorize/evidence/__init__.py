"""What factorizing knows of a program: its weights, and the moments of what they are multiplied with."""

from netwright.passes.factorize.evidence.study import Studied, Study, study

__all__ = ["Studied", "Study", "study"]
