"""A `Coding` as attributes of a `CrossbarMatMul`, and back."""

from __future__ import annotations

from typing import TypeAlias, cast

import numpy as np
import onnx_ir

from netwright.backends.cim.arch.model import ConverterMode, Granularity
from netwright.backends.cim.coding.model import Coding, Converter, Disturbance, Masking, WeightCoding
from netwright.ir.opinfo import float_attr, int_attr, str_attr

Attribute: TypeAlias = int | float | str

LAYER = "layer"
"""The attribute that names a product's layer in reports."""


def coding_attributes(coding: Coding) -> dict[str, Attribute]:
    """A coding as attributes by name: all of them, but those of noise only where there is some."""
    converter, masking, noise = coding.converter, coding.masking, coding.noise
    found: dict[str, Attribute] = {
        "rows": coding.rows,
        "input_bits": coding.input_bits,
        "input_signed": int(coding.input_signed),
        "digit_bits": coding.digit_bits,
        "weight_bits": coding.weight_bits,
        "cell_bits": coding.cell_bits,
        "encoding": coding.encoding,
        "subtract": coding.subtract,
        "converter_mode": converter.mode,
        "converter_bits": converter.bits,
        "converter_step": converter.step,
        "converter_low": converter.low,
        "converter_high": converter.high,
        "mask_granularity": masking.granularity,
        "mask_group": masking.group,
        "mask_threshold": masking.threshold,
        "mask_parasitic": masking.parasitic,
        "mask_fewer_bits": int(masking.fewer_bits),
    }
    if noise is not None:
        found |= {
            "noise_conversion": noise.conversion,
            "noise_cell": noise.cell,
            "noise_seed": noise.seed,
            "noise_stream": noise.stream,
        }
    return found


def coding_of(node: onnx_ir.Node) -> Coding:
    """The coding of a `CrossbarMatMul`; attributes that are not given are those of `Coding()`.

    Floats are read as the shortest decimals of what a file keeps in 32 bits, so that saving changes nothing.
    """
    usual = Coding()
    converter = Converter(
        mode=cast("ConverterMode", str_attr(node, "converter_mode", usual.converter.mode)),
        bits=int_attr(node, "converter_bits", usual.converter.bits),
        step=int_attr(node, "converter_step", usual.converter.step),
        low=int_attr(node, "converter_low", usual.converter.low),
        high=int_attr(node, "converter_high", usual.converter.high),
    )
    masking = Masking(
        granularity=cast("Granularity", str_attr(node, "mask_granularity", usual.masking.granularity)),
        group=int_attr(node, "mask_group", usual.masking.group),
        threshold=_decimal(node, "mask_threshold", usual.masking.threshold),
        parasitic=int_attr(node, "mask_parasitic", usual.masking.parasitic),
        fewer_bits=bool(int_attr(node, "mask_fewer_bits", int(usual.masking.fewer_bits))),
    )
    return Coding(
        rows=int_attr(node, "rows", usual.rows),
        input_bits=int_attr(node, "input_bits", usual.input_bits),
        input_signed=bool(int_attr(node, "input_signed", int(usual.input_signed))),
        digit_bits=int_attr(node, "digit_bits", usual.digit_bits),
        weight_bits=int_attr(node, "weight_bits", usual.weight_bits),
        cell_bits=int_attr(node, "cell_bits", usual.cell_bits),
        encoding=cast("WeightCoding", str_attr(node, "encoding", usual.encoding)),
        subtract="before" if str_attr(node, "subtract", usual.subtract) == "before" else "after",
        converter=converter,
        masking=masking,
        noise=_noise_of(node),
    )


def layer_of(node: onnx_ir.Node) -> str:
    """The layer that a `CrossbarMatMul` belongs to."""
    return str_attr(node, LAYER, "")


def _noise_of(node: onnx_ir.Node) -> Disturbance | None:
    if not any(name.startswith("noise_") for name in node.attributes):
        return None
    return Disturbance(
        conversion=_decimal(node, "noise_conversion", 0.0),
        cell=_decimal(node, "noise_cell", 0.0),
        seed=int_attr(node, "noise_seed", 0),
        stream=int_attr(node, "noise_stream", 0),
    )


def _decimal(node: onnx_ir.Node, name: str, default: float) -> float:
    return float(str(np.float32(float_attr(node, name, default))))
