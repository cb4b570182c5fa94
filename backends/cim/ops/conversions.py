"""Lossy products in standard operators: digits × cells, every sum converted, put together in int64.

Shapes: D digits, S cells, B blocks of R rows, N vectors, J outputs; sums are [D, S, B, N, J]. The definitions are those of
`netwright.backends.cim.coding`; a test holds the two together. Noise is left out: it has no place in a graph.
"""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir

from netwright.backends.cim.coding import adc, masks, slicing
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.ops.arithmetic import Whole
from netwright.backends.cim.ops.building import Body


def lossy_product(body: Body, coding: Coding, weight: tuple[int, ...]) -> onnx_ir.Value:
    """The product of the body's x [..., K] and w [..., K, J] (its shape is `weight`), as int32 [..., J].

    Memory: D·S·B·N·J sums of 8 bytes at once, of one matrix after the other where w has several.
    """
    at = Whole(body)
    x, w = body.input(0), body.input(1)
    *lead, rows, outputs = weight
    leading = body.op("Slice", [body.op("Shape", [x]), at.known([0]), at.known([-1]), at.known([0])])
    shape = body.op("Concat", [leading, at.known([outputs])], {"axis": 0})
    if not lead:
        return body.op("Reshape", [at.cast(_one(at, coding, at.reshape(at.of(x), [-1, rows]), w, rows, outputs), "int32"), shape])
    matrices = body.op("Reshape", [w, at.known([-1, rows, outputs])])
    vectors = at.reshape(at.of(x), [prod(lead), -1, rows])
    values: list[onnx_ir.Value] = []
    for place in range(prod(lead)):
        left, right = (body.op("Gather", [given, at.known(place)], {"axis": 0}) for given in (vectors, matrices))
        values.append(_one(at, coding, left, right, rows, outputs))
    return body.op("Reshape", [at.cast(body.op("Concat", values, {"axis": 0}), "int32"), shape])


def _one(at: Whole, coding: Coding, vectors: onnx_ir.Value, w: onnx_ir.Value, rows: int, outputs: int) -> onnx_ir.Value:
    """int64 [N, outputs] of vectors int64 [N, rows] and one matrix [rows, outputs]."""
    blocks = -(-rows // coding.rows)
    spare = blocks * coding.rows - rows
    holding = np.array([min(coding.rows, rows - start) for start in range(0, rows, coding.rows)], np.int64)
    digits = at.pad_end(_digits(at, vectors, coding), 3, 2, spare)
    digits = at.transpose(at.reshape(digits, [len(slicing.input_places(coding)), -1, blocks, coding.rows]), [0, 2, 1, 3])
    cells = at.pad_end(_cells(at, at.of(w), coding), 3, 1, spare)
    cells = at.reshape(cells, [len(slicing.weight_places(coding)), blocks, coding.rows, outputs])
    sums = _sums(at, digits, cells, coding, holding)
    enabled = _enabled(at, digits, coding, holding)
    converted = at.where(at.two("Greater", enabled, 0), _convert(at, sums, enabled, coding, holding), 0)
    places = np.multiply.outer(slicing.input_places(coding), slicing.weight_places(coding))
    total = at.sum(at.two("Mul", converted, places[:, :, None, None, None]), [0, 1, 2])
    if coding.encoding == "xnor":
        total = at.two("Sub", at.two("Mul", total, 2), rows * adc.denominator(coding))
    values = at.rhe(total, adc.denominator(coding))
    if coding.encoding == "offset":
        share = at.two("Mul", at.sum(vectors, [1], keep=True), 1 << (coding.weight_bits - 1))
        values = at.two("Sub", values, share)
    return values


def _digits(at: Whole, vectors: onnx_ir.Value, coding: Coding) -> onnx_ir.Value:
    """int64 [D, N, K]."""
    raised = at.body.op("Unsqueeze", [vectors, at.known([0])])
    if coding.encoding == "xnor":
        return at.of(at.two("Greater", raised, 0))
    bits = coding.input_bits - coding.input_signed
    magnitude = at.two("Mod", raised, 1 << bits)
    sliced = _slices(at, magnitude, bits, coding.digit_bits)
    if not coding.input_signed:
        return sliced
    return at.body.op("Concat", [sliced, at.of(at.two("Less", raised, 0))], {"axis": 0})


def _cells(at: Whole, w: onnx_ir.Value, coding: Coding) -> onnx_ir.Value:
    """int64 [S, K, J], in the order of `slicing.weight_places`; differential `before`: those of w⁺ less those of w⁻."""
    raised = at.body.op("Unsqueeze", [w, at.known([0])])
    half, bits = 1 << (coding.weight_bits - 1), coding.weight_bits - 1
    match coding.encoding:
        case "xnor":
            return at.of(at.two("Greater", raised, 0))
        case "offset":
            return _slices(at, at.two("Add", raised, half), bits + 1, coding.cell_bits)
        case "twos_complement":
            low = _slices(at, at.two("Mod", raised, half), bits, coding.cell_bits)
            return at.body.op("Concat", [low, at.of(at.two("Less", raised, 0))], {"axis": 0})
        case "differential":
            positive = _slices(at, at.two("Max", raised, 0), bits, coding.cell_bits)
            negative = _slices(at, at.two("Max", at.body.op("Neg", [raised]), 0), bits, coding.cell_bits)
            if coding.subtract == "before":
                return at.two("Sub", positive, negative)
            return at.body.op("Concat", [positive, negative], {"axis": 0})


def _slices(at: Whole, magnitudes: onnx_ir.Value, bits: int, width: int) -> onnx_ir.Value:
    lows = np.array([1 << low for low in range(0, bits, width)], np.int64)[:, None, None]
    return at.two("Mod", at.two("Div", magnitudes, lows), 1 << width)


def _sums(at: Whole, digits: onnx_ir.Value, cells: onnx_ir.Value, coding: Coding, holding: np.ndarray) -> onnx_ir.Value:
    """P, int64 [D, S, B, N, J]; of signs, the pairs that are equal."""
    signed = adc.signed(coding)
    left = at.body.op("Unsqueeze", [at.cast(digits, "uint8"), at.known([1])])
    right = at.body.op("Unsqueeze", [at.cast(cells, "int8" if signed else "uint8"), at.known([0])])
    sums = at.of(at.body.op("MatMulInteger", [left, right]))
    if coding.encoding != "xnor":
        return sums
    ones = at.body.op("Unsqueeze", [at.sum(digits, [3], keep=True), at.known([1])])
    weights = at.body.op("Unsqueeze", [at.sum(cells, [2], keep=True), at.known([0])])
    unequal = at.two("Sub", at.two("Add", ones, weights), at.two("Mul", sums, 2))
    return at.two("Sub", at.known(holding[None, None, :, None, None]), unequal)


def _enabled(at: Whole, digits: onnx_ir.Value, coding: Coding, holding: np.ndarray) -> onnx_ir.Value:
    """N_en, int64, to be broadcast against [D, S, B, N, J]."""
    usual = _usual(at, coding, holding)
    if not masks.masked(coding):
        return usual
    group = masks.groups_of(coding.masking)
    groups = -(-coding.rows // group)
    driven = at.of(at.two("Greater", digits, 0))
    if coding.masking.granularity in masks.BY_VALUE:
        driven = at.body.op("ReduceMax", [driven, at.known([0])], {"keepdims": 1})
    count = 1 if coding.masking.granularity in masks.BY_VALUE else len(slicing.input_places(coding))
    padded = at.reshape(at.pad_end(driven, 4, 3, groups * group - coding.rows), [count, len(holding), -1, groups, group])
    any_driven = at.body.op("ReduceMax", [padded, at.known([4])], {"keepdims": 0})
    starts = np.arange(groups, dtype=np.int64) * group
    sizes = np.clip(holding[:, None] - starts[None, :], 0, np.minimum(group, coding.rows - starts))
    kept = at.sum(at.two("Mul", any_driven, sizes[None, :, None, :]), [3])
    kept = at.body.op("Unsqueeze", [kept, at.known([1, 4])])
    most = np.array([masks.most_kept(coding.masking, int(rows)) for rows in holding], np.int64)[None, None, :, None, None]
    return at.where(at.two("LessOrEqual", kept, most), kept, usual)


def _usual(at: Whole, coding: Coding, holding: np.ndarray) -> onnx_ir.Value:
    """N_en of each block without a mask."""
    return at.known(np.array([masks.unmasked_rows(coding, int(rows)) for rows in holding], np.int64)[None, None, :, None, None])


def _convert(at: Whole, sums: onnx_ir.Value, enabled: onnx_ir.Value, coding: Coding, holding: np.ndarray) -> onnx_ir.Value:
    """P̂ · denominator, as `adc.convert` does."""
    converter, last = coding.converter, adc.top_code(coding)
    first = -last if adc.signed(coding) else 0
    match converter.mode:
        case "exact":
            return sums
        case "step" | "clip":
            step = converter.step if converter.mode == "step" else 1
            return at.two("Mul", at.clip(at.rhe(sums, step), first, last), step)
        case "range":
            steps, span = adc.range_steps(coding), converter.high - converter.low
            inside = at.two("Sub", at.clip(sums, converter.low, converter.high), converter.low)
            code = at.rhe(at.two("Mul", inside, steps), span)
            return at.two("Add", at.two("Mul", code, span), converter.low * steps)
        case "charge":
            unit = adc.parasitic_unit(coding)
            rows = _usual(at, coding, holding) if coding.masking.fewer_bits else enabled
            full = at.two("Mul", at.two("Add", at.two("Mul", rows, unit), coding.masking.parasitic), adc.unit_sum(coding))
            full = at.two("Max", full, 1)
            code = at.clip(at.rhe(at.two("Mul", sums, last * unit), full), first, last)
            numerator = at.two("Mul", code, full)
            whole = at.two("Mul", at.rhe(numerator, last * unit), last * unit)
            return at.where(at.two("LessOrEqual", full, last * unit), whole, numerator)
