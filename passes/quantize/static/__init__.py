"""Static quantization: weights and activations on grids fixed beforehand, written as QuantizeLinear and DequantizeLinear."""

from netwright.passes.quantize.static.carry import quantize_static
from netwright.passes.quantize.static.regions import Regions, activations_of

__all__ = ["Regions", "activations_of", "quantize_static"]
