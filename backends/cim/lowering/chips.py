"""How a chip computes a product: the coding that follows from its description."""

from __future__ import annotations

from netwright.backends.cim.arch.model import Adc, Arch
from netwright.backends.cim.coding.model import PARASITIC_STEPS, Coding, Converter, Disturbance, Masking, WeightCoding


def coding_for(arch: Arch, *, input_signed: bool = False, encoding: WeightCoding | None = None, stream: int = 0) -> Coding:
    """The coding of a product of bytes on a chip.

    Args:
        arch: the chip.
        input_signed: inputs are int8.
        encoding: of the weights; the chip's own where not given. `xnor` has 1-bit inputs and weights.
        stream: the layer's number, by which its noise differs from others'.
    """
    array = arch.array
    chosen = encoding if encoding is not None else array.encoding
    binary = chosen == "xnor"
    noise = None
    if array.kind == "analog" and (array.noise.conversion or array.noise.cell):
        noise = Disturbance(conversion=array.noise.conversion, cell=array.noise.cell, seed=array.noise.seed, stream=stream)
    coding = Coding(
        rows=array.active_rows,
        input_bits=1 if binary else 8,
        input_signed=input_signed and not binary,
        digit_bits=1 if binary else array.digit_bits,
        weight_bits=1 if binary else 8,
        cell_bits=1 if binary else array.cell_bits,
        encoding=chosen,
        subtract=array.adc.subtract if array.adc is not None else "after",
        masking=Masking(
            granularity="pad" if "pad" in array.disabling.granularities else "none",
            parasitic=round(array.disabling.parasitic_cells * PARASITIC_STEPS),
        ),
        noise=noise,
    )
    return _with_converter(coding, array.adc)


def applies_signed(arch: Arch) -> bool:
    """True where the chip's digits can carry two's complement inputs: their sign is a digit of its own."""
    return arch.array.digit_bits == 1 or 7 % arch.array.digit_bits == 0


def largest_sum(coding: Coding) -> int:
    """F: the largest sum that a column can have."""
    return coding.rows * (2**coding.digit_bits - 1) * (2**coding.cell_bits - 1)


def _with_converter(coding: Coding, adc: Adc | None) -> Coding:
    from dataclasses import replace

    if adc is None:
        return replace(coding, converter=Converter(mode="exact"))
    most = largest_sum(coding)
    signed = coding.encoding == "differential" and coding.subtract == "before"
    codes = 2 ** (adc.bits - 1) - 1 if signed else 2**adc.bits - 1
    step = adc.step or _covering(most, codes)
    low, high = (adc.low, adc.high) if adc.high != adc.low else (-most if signed else 0, most)
    mode = adc.mode
    converter = Converter(
        mode=mode,
        bits=adc.bits,
        step=step if mode == "step" else 1,
        low=low if mode == "range" else 0,
        high=high if mode == "range" else 0,
    )
    return replace(coding, converter=converter)


def _covering(most: int, codes: int) -> int:
    """The smallest power of two by which the codes reach the largest sum."""
    step = 1
    while codes * step < most:
        step *= 2
    return step
