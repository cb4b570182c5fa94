"""A codec for integer arrays with many zeros: feature maps, caches of keys and values, quantized weights.

`encode` tries a bitmap with Exponential-Golomb codes, a bitmap with packed integers, run lengths, and the array as it is, and writes the
smallest. `decode` gives the array back exactly. With `netwright[codec]` (numba) both run as machine code.
"""

from netwright.codec.coding import METHODS, CodecError, Method, decode, encode, sizes
from netwright.codec.engines import Engine
from netwright.codec.measuring import MapBytes, MapReport, WeightBytes, measure_maps, measure_weights

__all__ = [
    "METHODS",
    "CodecError",
    "Engine",
    "MapBytes",
    "MapReport",
    "Method",
    "WeightBytes",
    "decode",
    "encode",
    "measure_maps",
    "measure_weights",
    "sizes",
]
