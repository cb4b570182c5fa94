"""Quantization: integers in the place of floats."""
