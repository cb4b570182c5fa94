"""The operators of the domain `netwright.cim`, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from netwright.backends.cim.ops import im2col, matmul, requantize
from netwright.ir.operators import Operator

OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        im2col.IM2COL: im2col.OPERATOR,
        matmul.CROSSBAR_MATMUL: matmul.OPERATOR,
        requantize.REQUANTIZE: requantize.OPERATOR,
    }
)
