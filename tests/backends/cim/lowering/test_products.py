"""Products on crossbars equal ONNX Runtime's integer kernels bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.cim.arch.catalog import preset_names, resolve
from netwright.backends.cim.arch.model import Arch, Array
from netwright.backends.cim.coding.checks import check
from netwright.backends.cim.lowering import coding_for
from netwright.backends.cim.lowering.crossbars import Crossbars
from netwright.backends.cim.ops import coding_of
from netwright.backends.cim.target import CimTarget
from netwright.ir.dump import dump
from netwright.passes import Context, run
from netwright.passes.pipeline import Pipeline
from tests.backends.cim.lowering.graphs import ARCH, count, kernel, lowered, normal, outputs, quantized

CONV = """
    v = DequantizeLinear <axis = 0> (w, ws, wz)
    c = DequantizeLinear <axis = 0> (b, bs, bz)
    f = Conv <ATTRIBUTES> (d, v, c)
"""
QUANTIZE = "q_y = QuantizeLinear (f, ys, yz)"


@pytest.mark.parametrize(
    ("shape", "weight", "attributes"),
    [
        ((1, 3, 9, 8), (5, 3, 3, 3), "pads = [1, 1, 1, 1]"),
        ((1, 3, 9, 8), (5, 3, 1, 1), "strides = [1, 1]"),
        ((1, 3, 9, 8), (5, 3, 1, 1), "strides = [2, 2]"),
        ((1, 2, 11, 12), (4, 2, 3, 2), "strides = [2, 3], dilations = [2, 1], pads = [2, 0, 1, 1]"),
        ((1, 2, 7, 7), (4, 2, 3, 3), 'auto_pad = "SAME_UPPER", strides = [2, 2]'),
        ((1, 2, 8, 8), (4, 2, 3, 3), 'auto_pad = "SAME_LOWER", strides = [2, 2]'),
        ((1, 2, 8, 8), (4, 2, 3, 3), 'auto_pad = "VALID"'),
        ((1, 4, 33), (6, 4, 5), "strides = [2], pads = [1, 2]"),
        ((1, 40, 6, 6), (8, 40, 3, 3), "pads = [1, 1, 1, 1]"),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_a_convolution_is_windows_and_a_product(shape: tuple[int, ...], weight: tuple[int, ...], attributes: str, signed: bool) -> None:
    body = CONV.replace("ATTRIBUTES", attributes) + QUANTIZE
    program = quantized(shape, body, kernel(1, *weight), signed=signed, out="q_y")
    onto = lowered(program)
    feeds = {"x": normal(2, *shape)}
    assert count(onto, "CrossbarMatMul") == count(onto, "Requantize") == 1
    assert count(onto, "Conv") == 0
    wanted = outputs(program, feeds)["q_y"]
    assert len(np.unique(wanted)) > 20
    np.testing.assert_array_equal(outputs(onto, feeds)["q_y"], wanted)


@pytest.mark.parametrize(("between", "low", "high"), [("Relu (f)", 5, 255), ("Clip (f, lo, hi)", 14, 96)])
def test_a_relu_or_clip_becomes_limits(between: str, low: int, high: int) -> None:
    weights = {**kernel(1, 5, 3, 3, 3), "lo": np.float32(1), "hi": np.float32(10)}
    body = CONV.replace("ATTRIBUTES", "pads = [1, 1, 1, 1]") + f"r = {between}\nq_y = QuantizeLinear (r, ys, yz)"
    onto = lowered(quantized((1, 3, 8, 8), body, weights, out="q_y"))
    (node,) = onto.nodes("Requantize")
    assert (node.attributes["low"].as_int(), node.attributes["high"].as_int()) == (low, high)
    found = outputs(onto, {"x": normal(3, 1, 3, 8, 8)})["q_y"]
    assert (found.min(), found.max()) == (low, high)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("to_bytes", [True, False])
def test_a_matrix_product_is_one_on_crossbars(signed: bool, to_bytes: bool) -> None:
    end = "q_y = QuantizeLinear (f, ys, yz)" if to_bytes else "y = Identity (f)"
    body = f"v = DequantizeLinear <axis = 1> (w, ws, wz)\nf = MatMul (d, v)\n{end}"
    out = "q_y" if to_bytes else "y"
    program = quantized((2, 5, 300), body, kernel(4, 300, 7, axis=1, bias=False), signed=signed, out=out)
    onto = lowered(program)
    feeds = {"x": normal(5, 2, 5, 300)}
    assert count(onto, "CrossbarMatMul") == 1
    assert count(onto, "MatMul") == 0
    np.testing.assert_array_equal(outputs(onto, feeds)[out], outputs(program, feeds)[out])


@pytest.mark.parametrize("turned", [0, 1])
def test_a_gemm_is_one_on_crossbars(turned: int) -> None:
    shape, axis = ((7, 40), 0) if turned else ((40, 7), 1)
    body = f"""v = DequantizeLinear <axis = {axis}> (w, ws, wz)
        c = DequantizeLinear <axis = 0> (b, bs, bz)
        f = Gemm <transB = {turned}> (d, v, c)
        q_y = QuantizeLinear (f, ys, yz)"""
    program = quantized((3, 40), body, kernel(6, *shape, axis=axis), out="q_y")
    feeds = {"x": normal(7, 3, 40)}
    onto = lowered(program)
    assert count(onto, "CrossbarMatMul") == 1
    np.testing.assert_array_equal(outputs(onto, feeds)["q_y"], outputs(program, feeds)["q_y"])


@pytest.mark.parametrize(("alpha", "beta"), [(0.37, 1.0), (-1.3, 1.0), (0.37, 2.5), (1.0, 0.3)])
@pytest.mark.parametrize("out", ["y", "q_y"])
def test_a_gemms_factors_go_into_its_scales(alpha: float, beta: float, out: str) -> None:
    """As in ONNX Runtime's QGemm, whose bias has the scale alpha / beta · sx · sw."""
    weights = kernel(6, 40, 7, axis=1)
    weights["bs"] = (np.float32(alpha) * weights["bs"] / np.float32(beta)).astype(np.float32)
    body = f"""v = DequantizeLinear <axis = 1> (w, ws, wz)
        c = DequantizeLinear <axis = 0> (b, bs, bz)
        f = Gemm <alpha = {alpha}, beta = {beta}> (d, v, c)
        {QUANTIZE if out == "q_y" else "y = Identity (f)"}"""
    program = quantized((30, 40), body, weights, out=out)
    feeds = {"x": normal(7, 30, 40)}
    onto = lowered(program)
    assert (count(onto, "CrossbarMatMul"), count(onto, "Requantize")) == (1, int(out == "q_y"))
    found, wanted = outputs(onto, feeds)[out], outputs(program, feeds)[out]
    assert len(np.unique(wanted)) > 20
    if beta == 1.0 and out == "q_y":
        np.testing.assert_array_equal(found, wanted)
    else:  # ONNX Runtime has floats here
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_a_gemms_float_bias_is_added_times_beta(beta: float) -> None:
    weights = {**kernel(6, 40, 7, axis=1, bias=False), "c": normal(8, 7)}
    body = f"v = DequantizeLinear <axis = 1> (w, ws, wz)\nf = Gemm <alpha = 0.7, beta = {beta}> (d, v, c)\ny = Identity (f)"
    program = quantized((3, 40), body, weights)
    onto, feeds = lowered(program), {"x": normal(7, 3, 40)}
    assert count(onto, "CrossbarMatMul") == 1
    assert count(onto, "Gemm") == 0
    np.testing.assert_allclose(outputs(onto, feeds)["y"], outputs(program, feeds)["y"], rtol=2e-5, atol=2e-5)


def test_signed_inputs_become_unsigned_where_digits_carry_no_sign() -> None:
    arch = replace(ARCH, array=Array(digit_bits=2, adc=None, kind="digital"))
    body = CONV.replace("ATTRIBUTES", "pads = [1, 1, 1, 1]") + QUANTIZE
    program = quantized((1, 3, 9, 8), body, kernel(1, 5, 3, 3, 3), signed=True, out="q_y")
    onto = lowered(program, arch)
    (node,) = onto.nodes("CrossbarMatMul")
    assert "input_signed" not in node.attributes
    feeds = {"x": normal(8, 1, 3, 9, 8)}
    np.testing.assert_array_equal(outputs(onto, feeds)["q_y"], outputs(program, feeds)["q_y"])


@pytest.mark.parametrize("groups", [2, 6])
def test_groups_are_diagonal_blocks_where_arrays_are_cheaper(groups: int) -> None:
    digital = Arch(name="digital", array=Array(kind="digital", adc=None))
    body = CONV.replace("ATTRIBUTES", f"pads = [1, 1, 1, 1], group = {groups}") + QUANTIZE
    program = quantized((1, 6, 9, 8), body, kernel(1, 12, 6 // groups, 3, 3), out="q_y")
    feeds = {"x": normal(9, 1, 6, 9, 8)}
    wanted = outputs(program, feeds)["q_y"]
    for arch in (digital, replace(digital, array=replace(digital.array, active_rows=20))):
        onto = run(program, [Crossbars(grouped="crossbars")], Context(target=CimTarget(arch))).program
        blocks = count(onto, "CrossbarMatMul")
        assert blocks == (1 if arch is digital else groups if groups == 2 else 3)
        np.testing.assert_array_equal(outputs(onto, feeds)["q_y"], wanted)
    row = run(program, [Crossbars(grouped="vector")], Context(target=CimTarget(digital))).rows[0]
    assert row.misses[0].reason.startswith(f"{groups} groups of {6 // groups} channel")


def test_ties_stay_ties() -> None:
    body = """v = DequantizeLinear <axis = 0> (w, ws, wz)
        f = Conv (d, v)
        p = QuantizeLinear (f, ys, yz)
        e = DequantizeLinear (p, ys, yz)
        h = Conv (e, v)
        q_y = QuantizeLinear (h, ys, yz)"""
    onto = lowered(quantized((1, 4, 5, 5), body, kernel(1, 4, 4, 1, 1, bias=False), out="q_y"))
    first, second = onto.nodes("CrossbarMatMul")
    assert first.inputs[1] is second.inputs[1]


def test_the_dump_is_as_written(golden: Callable[[str, str], None]) -> None:
    body = (
        CONV.replace("ATTRIBUTES", "pads = [1, 1, 1, 1]")
        + """p = QuantizeLinear (f, ys, yz)
        e = DequantizeLinear (p, ys, yz)
        s = Add (e, e)
        o = QuantizeLinear (s, ys, yz)
        u = DequantizeLinear (o, ys, yz)
        m = DequantizeLinear <axis = 0> (w2, ws2, wz2)
        h = Conv <group = 5> (u, m)
        g0 = QuantizeLinear (h, ys, yz)
        g1 = DequantizeLinear (g0, ys, yz)
        t = ReduceMean <keepdims = 0> (g1, axes)
        y = MatMul (t, fc)"""
    )
    small = {f"{name}2": array for name, array in kernel(2, 5, 1, 3, 3, bias=False).items()}
    weights = {**kernel(1, 5, 3, 3, 3), **small, "axes": np.array([2, 3]), "fc": np.ones((5, 2), np.float32)}
    program = lowered(quantized(("batch", 3, 8, 8), body, weights))
    misses = "".join(f"miss  %{miss.site}: {miss.reason}\n" for miss in program.ledger.misses)
    golden(dump(program, weights=False) + misses, "small.txt")


def test_the_pass_prints_and_parses_back() -> None:
    text = "crossbars(chip='isaac', grouped='vector'), channels_last"
    assert str(Pipeline.parse(text)) == text


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("signed", [False, True])
def test_every_chip_takes_products_of_bytes(name: str, signed: bool) -> None:
    body = CONV.replace("ATTRIBUTES", "pads = [1, 1, 1, 1]") + QUANTIZE
    onto = lowered(quantized((1, 3, 5, 5), body, kernel(1, 4, 3, 3, 3), signed=signed, out="q_y"), resolve(name))
    (node,) = onto.nodes("CrossbarMatMul")
    check(coding_of(node))
    x = normal(3, 1, 3, 5, 5)
    shape = outputs(onto, {"x": x})["q_y"].shape
    assert shape == (1, 4, 5, 5)


def test_a_converter_reaches_every_sum() -> None:
    coding = coding_for(replace(ARCH, array=replace(ARCH.array, active_rows=1000)))
    last = 2**coding.converter.bits - 1
    assert last * coding.converter.step >= 1000 > last * coding.converter.step // 2


def test_bytes_stay_where_floats_need_channels_first() -> None:
    """A DequantizeLinear stays right before the Conv that ONNX Runtime runs on integers; the Transpose moves bytes."""
    body = (
        CONV.replace("ATTRIBUTES", "pads = [1, 1, 1, 1]")
        + """p = QuantizeLinear (f, ys, yz)
        e = DequantizeLinear (p, ys, yz)
        m = DequantizeLinear <axis = 0> (w2, ws2, wz2)
        h = Conv <group = 5> (e, m)
        q_y = QuantizeLinear (h, ys, yz)"""
    )
    small = {f"{name}2": array for name, array in kernel(2, 5, 1, 3, 3, bias=False).items()}
    program = quantized((1, 3, 8, 8), body, {**kernel(1, 5, 3, 3, 3), **small}, out="q_y")
    onto = lowered(program)
    (conv,) = onto.nodes("Conv")
    before = conv.inputs[0]
    assert before is not None
    assert getattr(before.producer(), "op_type", "") == "DequantizeLinear"
    x = normal(3, 1, 3, 8, 8)
    np.testing.assert_array_equal(outputs(onto, {"x": x})["q_y"], outputs(program, {"x": x})["q_y"])
