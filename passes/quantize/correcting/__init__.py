"""Making up for what integers leave as error: for its mean by biases, or layer after layer by weights and biases."""

from netwright.passes.quantize.correcting.compensate import Compensator
from netwright.passes.quantize.correcting.correct import correct_biases

__all__ = ["Compensator", "correct_biases"]
