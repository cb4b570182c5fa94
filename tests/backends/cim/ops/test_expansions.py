"""Expansions in standard operators equal the functional specification; what is saved runs anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.backends.cim.coding.model import Coding, Converter, Masking, WeightCoding
from netwright.backends.cim.coding.reference import reference
from netwright.backends.cim.ops import DOMAIN, Im2Col, coding_attributes, coding_of
from netwright.backends.onnxruntime import lower
from netwright.frontends.onnx.load import load_onnx
from netwright.ir import shapes
from netwright.ir.dump import dump
from netwright.ir.program import Program
from netwright.ir.storage.writer import write_model
from tests.backends.cim.lowering.graphs import kernel, lowered, normal, outputs, quantized


def own(op_type: str, attributes: dict[str, object], shape: list[int | str], dtype: str, *weights: np.ndarray, opset: int = 20) -> Program:
    """A program of one own operator on x."""
    x = onnx_ir.Value(name="x", shape=onnx_ir.Shape(shape), type=onnx_ir.TensorType(onnx_ir.DataType[dtype.upper()]))
    held = [onnx_ir.Value(name=f"w{i}", const_value=onnx_ir.Tensor(w, name=f"w{i}")) for i, w in enumerate(weights)]
    y = onnx_ir.Value(name="y")
    attrs = [onnx_ir.convenience.convert_attribute(name, value) for name, value in attributes.items()]  # pyright: ignore[reportArgumentType]
    node = onnx_ir.Node(DOMAIN, op_type, [x, *held], attrs, outputs=[y], name="y")
    graph = onnx_ir.Graph([x], [y], nodes=[node], initializers=held, opset_imports={"": opset, DOMAIN: 1}, name="g")
    program = Program(onnx_ir.Model(graph, ir_version=10))
    assert shapes.infer(program) == []
    return program


@st.composite
def codings(draw: st.DrawFn) -> Coding:
    encoding: WeightCoding = draw(st.sampled_from(get_args(WeightCoding)))
    digit, signed = draw(st.sampled_from([(1, False), (2, False), (1, True), (3, True)]))
    low = draw(st.integers(0, 2))
    converter = Converter(
        mode=draw(st.sampled_from(["exact", "step", "clip", "range", "charge"])),
        bits=draw(st.integers(2, 5)),
        step=draw(st.integers(1, 4)),
        low=low,
        high=low + draw(st.integers(3, 9)),
    )
    masking = Masking(
        granularity=draw(st.sampled_from(["none", "pad", "row", "row_group", "plane", "plane_group"])),
        group=draw(st.integers(2, 4)),
        threshold=draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])),
        parasitic=draw(st.sampled_from([0, 300])),
        fewer_bits=draw(st.booleans()),
    )
    binary = encoding == "xnor"
    return Coding(
        rows=draw(st.integers(2, 9)),
        input_bits=1 if binary else 4,
        input_signed=signed and not binary,
        digit_bits=1 if binary else digit,
        weight_bits=1 if binary else 4,
        cell_bits=1 if binary else draw(st.sampled_from([1, 2, 4])),
        encoding=encoding,
        subtract=draw(st.sampled_from(["before", "after"])),
        converter=converter,
        masking=masking,
    )


@settings(max_examples=60, deadline=None)
@given(codings(), st.integers(1, 19), st.integers(0, 2**31), st.sampled_from([18, 20]))
def test_a_lossy_product_equals_the_specification(coding: Coding, rows: int, seed: int, opset: int) -> None:
    rng = np.random.default_rng(seed)
    if coding.encoding == "xnor":
        w, x = (rng.choice(np.array([-1, 1], np.int8), size) for size in ((rows, 3), (4, rows)))
    else:
        w = rng.integers(-7, 8, (rows, 3)).astype(np.int8)
        low, high = (-8, 8) if coding.input_signed else (0, 16)
        x = (rng.integers(low, high, (4, rows)) * (rng.random((4, rows)) < 0.5)).astype(np.int8 if coding.input_signed else np.uint8)
    program = own("CrossbarMatMul", dict(coding_attributes(coding)), ["N", rows], x.dtype.name, w, opset=opset)
    wanted, _ = reference(x, w, coding)
    np.testing.assert_array_equal(outputs(program, {"x": x})["y"], wanted)


def test_attributes_give_the_coding_back() -> None:
    coding = Coding(rows=77, converter=Converter(mode="charge", bits=6), masking=Masking(granularity="plane", threshold=0.3, parasitic=40))
    (node,) = own("CrossbarMatMul", dict(coding_attributes(coding)), ["N", 4], "uint8", np.ones((4, 2), np.int8)).nodes()
    assert coding_of(node) == coding


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(*(st.integers(0, 2) for _ in range(4))),
    st.booleans(),
)
def test_windows_are_rows_of_k(
    kernel_size: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int], pads: tuple[int, int, int, int], dynamic: bool
) -> None:
    window = Im2Col(kernel_size, strides, dilations, pads, 9)
    x = np.random.default_rng(0).integers(0, 256, (2, 7, 6, 3)).astype(np.uint8)
    program = own("Im2Col", dict(window.attributes()), [2, 7, 6, 3], "uint8")
    if dynamic:
        program.inputs[0].shape = None
        program.outputs[0].shape = None
    padded = np.pad(x, ((0, 0), pads[::2], pads[1::2], (0, 0)), constant_values=9)
    height, width = window.output_size(7, 6)
    wanted = np.stack(
        [
            np.stack(
                [
                    np.concatenate(
                        [
                            padded[:, i * strides[0] + a * dilations[0], j * strides[1] + b * dilations[1]]
                            for a in range(kernel_size[0])
                            for b in range(kernel_size[1])
                        ],
                        axis=-1,
                    )
                    for j in range(width)
                ],
                axis=1,
            )
            for i in range(height)
        ],
        axis=1,
    )
    np.testing.assert_array_equal(lower(program, threads=1).run({"x": x})["y"], wanted)


@pytest.mark.parametrize("opset", [18, 19, 20, 23])
def test_a_saved_file_runs_anywhere_and_loads_as_it_was(tmp_path: Path, opset: int) -> None:
    body = """v = DequantizeLinear <axis = 0> (w, ws, wz)
        f = Conv <pads = [1, 1, 1, 1]> (d, v)
        q_y = QuantizeLinear (f, ys, yz)"""
    program = quantized((1, 3, 6, 6), body, kernel(1, 4, 3, 3, 3, bias=False), out="q_y", opset=opset)
    onto = lowered(program)
    path = tmp_path / "onto.onnx"
    write_model(onto.model, path)
    saved = onnx.load(path)
    onnx.checker.check_model(saved)
    assert sorted(function.name for function in saved.functions) == ["CrossbarMatMul", "Im2Col", "Requantize"]
    x = normal(3, 1, 3, 6, 6)
    found = cast("np.ndarray", onnxruntime.InferenceSession(path).run(None, {"x": x})[0])
    np.testing.assert_array_equal(found, outputs(program, {"x": x})["q_y"])
    again = load_onnx(path)
    assert dump(again, actions=False) == dump(onto, actions=False)
    assert not again.model.functions
