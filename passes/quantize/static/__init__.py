"""Static quantization: weights and activations on grids fixed beforehand, written as QuantizeLinear and DequantizeLinear."""

from netwright.passes.quantize.static.carry import quantize_static
from netwright.passes.quantize.static.operands import right_operands
from netwright.passes.quantize.static.regions import Regions, activations_of
from netwright.passes.quantize.static.running import left_float
from netwright.passes.quantize.static.strides import Stride, stride_of

__all__ = ["Regions", "Stride", "activations_of", "left_float", "quantize_static", "right_operands", "stride_of"]
