"""Biases of quantized products and convolutions find their way back to the program before."""

from __future__ import annotations

import numpy as np
import onnx_ir
import pytest
import torch

import netwright as nw
from netwright.ir import Program
from netwright.ir.errors import NetwrightError
from netwright.ir.lineage import lineage
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import normal
from tests.passes.quantize.static_helpers import quantized

NETWORKS = {
    "rows": "MatMul (x, w)  y = Add (p, b)",
    "matrix": "Reshape (x, flat)  m = MatMul (p, w)  y = Add (m, b)",
    "gemm": "Reshape (x, flat)  y = Gemm <beta: float = 0.5> (p, w, b)",
    "turned": "Reshape (x, flat)  y = Gemm <transB: int = 1> (p, w_t, b)",
    "shaped": "MatMul (x, w)  y = Add (p, b_wide)",
}


def network(name: str) -> Program:
    draw = np.random.default_rng(0)
    text = f"""<ir_version: 10, opset_import: ["" : 21]> {name} (float[2, 3, 64] x, WEIGHTS) => (float y) {{ p = {NETWORKS[name]} }}"""
    arrays = {
        "w": draw.normal(size=(64, 48)),
        "w_t": draw.normal(size=(48, 64)),
        "b": draw.normal(size=48),
        "b_wide": draw.normal(size=(1, 1, 48)),
    }
    held = {key: array.astype(np.float32) for key, array in arrays.items() if f"{key})" in text or f"{key}," in text}
    return program_of(text, held | ({"flat": np.array([-1, 64], np.int64)} if "flat" in text else {}))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trained_bias_comes_back(name: str) -> None:
    """Into the float program, which has no scales: weights and biases, and nothing else, are what training made of them."""
    program = network(name)
    module = nw.to_torch(quantized(program, {"x": normal(2, 3, 64)}, trainable=True, folded=False).program)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.125
    before, after = (tensors_of(one) for one in (program, nw.write_back(program, module)))
    for key in before.keys() - {"flat"}:
        change = 0.25 if (name, key) == ("gemm", "b") else 0.125
        assert after[key] == pytest.approx(before[key] + change, abs=1e-6)


@pytest.mark.parametrize("name", ["matrix", "gemm", "turned"])
@pytest.mark.parametrize("trainable", [True, False])
def test_a_bias_of_integers_says_where_it_is_from(name: str, trainable: bool) -> None:
    program = network(name)
    found = quantized(program, {"x": normal(2, 3, 64)}, trainable=trainable).program
    whole = next(value for value in found.initializers() if value.dtype == onnx_ir.DataType.INT32)
    origin = lineage(found.ledger, whole.name or "")
    assert origin.sources == ("b",)
    assert np.array_equal(origin.map.apply(tensors_of(program)["b"]), tensors_of(found)[whole.name or ""])


def test_from_a_bias_that_is_a_sum_no_way_leads_back() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]> two (float[4, 64] x, WEIGHTS) => (float y) { p = Gemm (x, w, b)  y = Add (p, c) }"""
    draw = np.random.default_rng(0)
    sizes = {"w": (64, 48), "b": (48,), "c": (48,)}
    program = program_of(text, {name: draw.normal(size=size).astype(np.float32) for name, size in sizes.items()})
    module = nw.to_torch(quantized(program, {"x": normal(4, 64)}, trainable=True, folded=False).program)
    with pytest.raises(NetwrightError, match="added to others"):
        nw.write_back(program, module)


def tensors_of(program: Program) -> dict[str, np.ndarray]:
    return {value.name or "": np.asarray(value.const_value.numpy()) for value in program.initializers() if value.const_value is not None}
