"""Operators of the domain `netwright.cim`: schema, shape rule and expansion of each."""

from netwright.backends.cim.ops.attributes import coding_attributes, coding_of, layer_of
from netwright.backends.cim.ops.im2col import IM2COL, Im2Col
from netwright.backends.cim.ops.matmul import CROSSBAR_MATMUL
from netwright.backends.cim.ops.requantize import REQUANTIZE
from netwright.backends.cim.ops.schemas import DOMAIN, VERSION

__all__ = ["CROSSBAR_MATMUL", "DOMAIN", "IM2COL", "REQUANTIZE", "VERSION", "Im2Col", "coding_attributes", "coding_of", "layer_of"]
