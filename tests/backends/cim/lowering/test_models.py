"""Whole models: what the quantizer made, on crossbars, against ONNX Runtime's integer kernels."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

import netwright as nw
from benchmarks.zoo import zoo
from netwright.backends.cim.arch.catalog import resolve
from netwright.backends.cim.lowering import lower_graph
from netwright.ir.program import Program
from netwright.passes import Context
from tests.backends.cim.lowering.graphs import count, lowered, outputs
from tests.passes.programs import PROGRAMS, feeds_for


def test_a_small_net_is_bit_for_bit_the_same() -> None:
    program = PROGRAMS["conv_net"]()
    feeds = feeds_for(program)
    static = nw.compile(program, "simplify, quantize(scheme='static'), fold", calibration=[feeds], latency=False, threads=1).program
    onto = lowered(static)
    assert count(onto, "CrossbarMatMul") >= 1
    _equal(static, onto, {name: array[:1] for name, array in feeds.items()})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "products", "tolerance"),
    [
        ("train_small_cnn", 5, 0.0),
        ("train_small_resnet", 9, 1e-6),
        ("digit_cnn", 4, 0.0),
        ("crepe_tiny", 7, 0.0),
        ("ppocr_cls", 42, 0.0),
        ("efficientnet_lite0", 34, 0.0),
        ("train_small_transformer", 8, 1e-6),
    ],
)
def test_a_real_model_is_bit_for_bit_the_same(name: str, products: int, tolerance: float) -> None:
    """Where a tolerance stands, ONNX Runtime sums floats in another order (a mean with channels last, a fused normalization)."""
    model = zoo[name]
    feeds = list(islice(model.feeds(16), 16))
    program = nw.load(model.onnx())
    static = nw.compile(program, "simplify(opset=20), quantize(scheme='static'), fold", calibration=feeds, latency=False, threads=1).program
    onto = lower_graph(static, Context(calibration=feeds), arch=resolve("generic-28nm")).program
    assert count(onto, "CrossbarMatMul") == products
    for one in feeds[:2]:
        _equal(static, onto, {key: array[:1] for key, array in one.items()}, tolerance)


def _equal(static: Program, onto: Program, feeds: dict[str, np.ndarray], tolerance: float = 0.0) -> None:
    wanted, found = outputs(static, feeds), outputs(onto, feeds)
    for name, array in wanted.items():
        assert array.size > 1
        np.testing.assert_allclose(found[name], array, rtol=0, atol=tolerance * np.abs(array).max())
