"""Exact rewrites of the float program that let 8 bits resolve more: scales moved between activations and weights."""

from netwright.passes.quantize.equalizing.equalize import Equalize
from netwright.passes.quantize.equalizing.finding import Scales, Search, find_scales
from netwright.passes.quantize.equalizing.smooth import Smooth
from netwright.passes.quantize.equalizing.smoothing import SMOOTH, Smoothing, read_smoothing, smooth_rewrites, smoothings_of

__all__ = [
    "SMOOTH",
    "Equalize",
    "Scales",
    "Search",
    "Smooth",
    "Smoothing",
    "find_scales",
    "read_smoothing",
    "smooth_rewrites",
    "smoothings_of",
]
