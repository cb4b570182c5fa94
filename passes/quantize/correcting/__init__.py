"""Making up for the mean of what integers leave as error."""

from netwright.passes.quantize.correcting.correct import correct_biases

__all__ = ["correct_biases"]
