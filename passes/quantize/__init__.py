"""Quantization: integers in the place of floats."""

from netwright.passes.quantize.quantize import Quantize

__all__ = ["Quantize"]
