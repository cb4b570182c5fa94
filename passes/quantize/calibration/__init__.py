"""Calibration: what activations range over, learnt from data in one pass and bounded memory, and the grids that follow."""

from netwright.passes.quantize.calibration.calibrate import activations, calibrate
from netwright.passes.quantize.calibration.channels import ChannelStatistics
from netwright.passes.quantize.calibration.grids import grid_of, on_grid
from netwright.passes.quantize.calibration.methods import METHODS, PERCENTILE, Method
from netwright.passes.quantize.calibration.statistics import DEFAULT_METHOD, Statistics
from netwright.passes.quantize.calibration.summary import Summary
from netwright.passes.quantize.calibration.tensors import TensorStatistics

__all__ = [
    "DEFAULT_METHOD",
    "METHODS",
    "PERCENTILE",
    "ChannelStatistics",
    "Method",
    "Statistics",
    "Summary",
    "TensorStatistics",
    "activations",
    "calibrate",
    "grid_of",
    "on_grid",
]
