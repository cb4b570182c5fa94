"""Each product that stays says why."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.cim.arch.model import Array
from netwright.backends.cim.lowering import lower_graph, ports
from netwright.backends.cim.mapping import build
from netwright.ir.errors import DataError, UnsupportedModelError
from netwright.passes import Context
from tests.backends.cim.lowering.graphs import ARCH, kernel, lowered, parsed, quantized

MATMUL = "v = DequantizeLinear <axis = 1> (w, ws, wz)\nf = MatMul (d, v)\ny = Identity (f)"


def reasons(body: str, weights: dict[str, np.ndarray], shape: tuple[int, ...] = (3, 8)) -> list[str]:
    return [miss.reason for miss in lowered(quantized(shape, body, weights)).ledger.misses if miss.rule == "crossbars"]


@pytest.mark.parametrize(
    ("body", "change", "reason"),
    [
        (MATMUL, {"w": np.ones((8, 3), np.int32), "wz": np.zeros(3, np.int32)}, "the weight is int32, not int8 or uint8"),
        (MATMUL.replace("axis = 1", "axis = 0"), {"ws": np.ones(8, np.float32), "wz": np.zeros(8, np.int8)}, "scales along axis 0"),
        (
            MATMUL.replace("axis = 1", "axis = 2"),
            {"w": np.ones((2, 8, 3), np.int8)},
            "an input of rank 2 times weights of rank 3; arrays hold matrices",
        ),
        ("f = MatMul (d, v)\ny = Identity (f)", {"v": np.ones((8, 3), np.float32)}, "the weight is not quantized"),
        (
            "t = Transpose (x)\nf = MatMul (d, t)\ny = Identity (f)",
            {},
            "%t is made by Transpose; both operands are computed: quantize(attention='arrays')",
        ),
        ("t = Transpose (d)\nf = MatMul (d, t)\ny = Identity (f)", {}, "the weight is not quantized"),
        (
            "v = DequantizeLinear <axis = 1> (w, ws, wz)\nf = Gemm <alpha = 0.0> (d, v)\ny = Identity (f)",
            {},
            "Gemm with alpha = 0, of which nothing is left to compute: write its C in its place",
        ),
        (
            "t = Transpose (q)\ne = DequantizeLinear (t, xs, xz)\nv = DequantizeLinear <axis = 1> (w, ws, wz)\n"
            "f = Gemm <transA = 1> (e, v)\ny = Identity (f)",
            {},
            "put a Transpose before the input's QuantizeLinear instead",
        ),
    ],
)
def test_a_product_that_stays_says_why(body: str, change: dict[str, np.ndarray], reason: str) -> None:
    (found,) = reasons(body, {**kernel(1, 8, 3, axis=1, bias=False), **change})
    assert reason in found


def test_computed_weights_stay() -> None:
    body = "t = Transpose (q)\nv = DequantizeLinear (t, xs, xz)\nf = MatMul (d, v)\ny = Identity (f)"
    (reason,) = reasons(body, {})
    assert reason.startswith("both operands are computed, and vector units cost less (")


def test_differential_columns_hold_no_128() -> None:
    arch = ARCH.__class__(name="d", array=Array(encoding="differential", kind="digital", adc=None))
    weights = kernel(1, 8, 3, axis=1, bias=False)
    weights["w"][2, 1] = -128
    found = lowered(quantized((3, 8), MATMUL, weights), arch).ledger.misses
    reasons = [miss.reason for miss in found if miss.rule == "crossbars"]
    assert reasons == ["1 weights are −128, which differential columns of 7 bits cannot hold: quantize weights to −127 … 127"]


def test_the_batch_is_one() -> None:
    program = quantized(("batch", 8), MATMUL, kernel(1, 8, 3, axis=1, bias=False))
    with pytest.raises(DataError, match="batch cannot be 4"):
        lower_graph(program, Context(), arch=ARCH, dims={"batch": 4})


def test_a_size_that_depends_on_data_is_said() -> None:
    program = parsed(
        """<ir_version: 10, opset_import: ["" : 20]>
        g (float[N] x) => (int64[1, M] y) { y = NonZero (x) }""",
        {},
    )
    (miss,) = [miss for miss in lowered(program).ledger.misses if miss.rule == "bind"]
    assert miss.reason.startswith("its size depends on the data")
    with pytest.raises(UnsupportedModelError, match=r"The shape of %y is not known.*end the model before the operator"):
        build(lowered(program), ARCH, name="net")


def test_sizes_come_from_calibration_data() -> None:
    body = "t = Transpose <perm = [0, 1]> (d)\ny = Identity (t)"
    program = quantized(("batch", "length"), body, {})
    seen = [{"x": np.zeros((4, 7), np.float32)}]
    onto = lower_graph(program, Context(calibration=seen), arch=ARCH).program
    assert onto.ledger.actions[0].why == "batch = 1, length = 7"
    assert str(ports(onto)[0][0]) == "float[batch, 7]"
