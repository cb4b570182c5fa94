"""Taking QuantizeLinear and DequantizeLinear to where kernels use them, and away from where none does."""

from netwright.passes.quantize.folding.fold import Fold

__all__ = ["Fold"]
