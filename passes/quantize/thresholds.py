"""From which size on a site is worth quantizing, with the measurement behind each number.

Measured on an AVX512-VNNI processor, ONNX Runtime 1.31, one thread, interleaved, best of 30; float time over quantized time,
quantizing the activation included. `python -m benchmarks.quantize_sites` measures them again.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Threshold:
    """A least size and why.

    Attributes:
        least: the smallest size that is quantized (of a peak: the largest).
        why: the measurement, as it stands in a Miss.
    """

    least: int
    why: str


LINEAR_ELEMENTS = Threshold(4096, "a 64 x 64 product ran 0.91 times as fast with 1 row, 1.03 times with 64")
"""Elements of a MatMul or Gemm weight; 16 x 64: x0.9 up to 64 rows; 128 x 128: x0.93 at 1 row, x1.5 at 64;
256 x 256: x1.13 at 1 row, x2.25 at 64. Between 4,096 and 32,768 one row loses half a microsecond, and the bytes fall to a third."""

LINEAR_COLUMNS = Threshold(16, "768 x 2 and 384 x 8 products ran 1.01 to 1.11 times as fast at any number of rows")
"""Output channels of a MatMul or Gemm: a head of few outputs gains nothing and is near the result."""

TABLE_ELEMENTS = Threshold(1 << 16, "its look-up takes some 5 us more as integers, for at most 192 kB less")
"""Elements of a table that Gather reads."""

LSTM_ELEMENTS = Threshold(
    1 << 15, "an LSTM of 2 x 32 hidden units ran 0.78 to 0.96 times as fast, one of 2 x 64 with 12 inputs 0.90 with 1 step"
)
"""Elements of W and R for one direction. 128 inputs and units (131,072): x1.18 at 1 step, x2.0 at 100; 512: x2.8 to x3.7."""

LSTM_PEAK = Threshold(
    16, "a speaker encoder's first layer, whose weights reach 61, came out with an error of 0.8, its other layers with 0.02"
)
"""Largest input weight of an LSTM that is quantized: a gate saturates from about 4 on, and a step is 1 / 127 of its row's peak."""

LSTM_ERROR = 0.06
"""Relative error of an LSTM's outputs, on the activations that it sees, over which it stays float. Trained layers: 0.01 to 0.03; the
speaker encoder's first layer, on power spectra: 0.8, in parts 0.045 (0.055 with 3 chunks: embeddings of voices that nothing else saw still
have a mean cosine of 0.984)."""

CONVOLUTION = (
    "left float: ConvInteger runs at 0.1 to 0.34 times the speed of the float Conv on ONNX Runtime; static quantization is for convolutions"
)
"""ResNet-18 x0.34, a MobileNetV2-like net x0.10."""
