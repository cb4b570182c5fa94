"""Converters without a zero point: the type of the integers is what `output_dtype` says (opset 21), or what is read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from netwright.ir.program import Program
from netwright.passes import Context, run
from netwright.passes.quantize.folding import Fold
from netwright.passes.quantize.static.pairs import grid_at
from netwright.passes.quantize.zeros import zero_points
from tests.backends.cim.lowering.graphs import count, lowered, normal, outputs, parsed

HELD: Mapping[str, np.ndarray | np.floating] = {"s": np.float32(0.05), "t": np.float32(0.09), "z": np.zeros((), np.uint8)}
TYPES = {2: ("uint8", 8, False), 3: ("int8", 8, True), 4: ("uint16", 16, False), 5: ("int16", 16, True)}


def program(body: str, result: str = "float", held: Mapping[str, np.ndarray | np.floating] | None = None) -> Program:
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    g (float[3, 8] x) => ({result}[3, N] y) {{ {body} }}"""
    return parsed(text, {**HELD, **(held or {})})


@pytest.mark.parametrize("code", TYPES)
def test_both_ends_of_a_pair_have_the_type_that_the_graph_names(code: int) -> None:
    dtype, bits, signed = TYPES[code]
    one = program(f"q = QuantizeLinear <output_dtype = {code}> (x, s)\ny = DequantizeLinear (q, s)")
    for node in one.nodes("QuantizeLinear", "DequantizeLinear"):
        zero, grid = zero_points(node), grid_at(node)
        assert zero is not None
        assert grid is not None
        assert (zero.dtype.name, int(zero)) == (dtype, 0)
        assert (grid.bits, grid.signed, grid.zero_point) == (bits, signed, 0)


def test_without_a_word_it_is_uint8() -> None:
    (node,) = program("q = QuantizeLinear (x, s)\ny = DequantizeLinear (q, s)").nodes("QuantizeLinear")
    zero = zero_points(node)
    assert zero is not None
    assert zero.dtype == np.uint8


def test_fold_does_not_take_int8_for_uint8() -> None:
    """−1 becomes 0 on the second grid: the two are not one."""
    one = program("q = QuantizeLinear <output_dtype = 3> (x, s)\nd = DequantizeLinear (q, s)\ny = QuantizeLinear (d, s, z)", result="uint8")
    feeds = {"x": normal(1, 3, 8)}
    folded = run(one, [Fold()], Context(), verify_each=True).program
    np.testing.assert_array_equal(outputs(folded, feeds)["y"], outputs(one, feeds)["y"])


def test_a_constant_becomes_integers_of_the_named_type() -> None:
    body = "q = QuantizeLinear <output_dtype = 3> (c, s)\nd = DequantizeLinear (q, s)\ny = Mul (x, d)"
    held = {"c": normal(2, 8)}
    one = program(body, held=held)
    folded = run(one, [Fold()], Context(), verify_each=True).program
    feeds = {"x": normal(1, 3, 8)}
    np.testing.assert_array_equal(outputs(folded, feeds)["y"], outputs(one, feeds)["y"])


@pytest.mark.parametrize("between", ["", "r = Relu (f)"])
@pytest.mark.parametrize("code", [2, 3])
def test_arrays_make_bytes_of_the_named_type(code: int, between: str) -> None:
    rng = np.random.default_rng(5)
    held = {"w": rng.integers(-127, 128, (8, 6)).astype(np.int8), "ws": rng.uniform(0.01, 0.02, 6).astype(np.float32)}
    body = f"""q = QuantizeLinear <output_dtype = 3> (x, s)
        d = DequantizeLinear (q, s)
        v = DequantizeLinear <axis = 1> (w, ws)
        f = MatMul (d, v)
        {between}
        y = QuantizeLinear <output_dtype = {code}> ({"r" if between else "f"}, t)"""
    one = program(body, TYPES[code][0], held)
    onto = lowered(one)
    assert count(onto, "CrossbarMatMul") == count(onto, "Requantize") == 1
    feeds = {"x": normal(1, 3, 8)}
    made, wanted = (outputs(which, feeds)["y"] for which in (onto, one))
    assert made.dtype == wanted.dtype == np.dtype(TYPES[code][0])
    assert len(np.unique(wanted)) > 5
    np.testing.assert_array_equal(made, wanted)
