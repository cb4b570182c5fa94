"""Whole models: what the quantizer made, on crossbars, against ONNX Runtime's integer kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

import netwright as nw
from benchmarks.zoo import zoo
from netwright.backends.cim.arch.catalog import resolve
from netwright.backends.cim.lowering import Bind, lower_graph
from netwright.backends.cim.mapping import build
from netwright.backends.cim.simulator import Machine
from netwright.ir.program import Program
from netwright.ir.shapes import static_shape
from netwright.passes import Context
from netwright.passes.manager import run
from tests.backends.cim.lowering.graphs import count, lowered, outputs
from tests.backends.cim.program.chips import on_onnxruntime
from tests.passes.programs import PROGRAMS, feeds_for


def test_a_small_net_is_bit_for_bit_the_same() -> None:
    program = PROGRAMS["conv_net"]()
    feeds = feeds_for(program)
    static = nw.compile(program, "simplify, quantize(scheme='static'), fold", calibration=[feeds], latency=False, threads=1).program
    onto = lowered(static)
    assert count(onto, "CrossbarMatMul") >= 1
    _equal(static, onto, {name: array[:1] for name, array in feeds.items()})


@dataclass(frozen=True)
class Case:
    """A real model.

    Attributes:
        name: in the zoo.
        products: how many go to crossbars.
        pipeline: to static integers.
        dims: sizes but the batch's; what is left out, calibration data say.
    """

    name: str
    products: int
    pipeline: str = "simplify(opset=20), quantize(scheme='static'), fold"
    dims: Mapping[str, int] = field(default_factory=dict[str, int])


CASES = (
    Case("train_small_cnn", 5),
    Case("train_small_resnet", 9),
    Case("digit_cnn", 4),
    Case("crepe_tiny", 7),
    Case("ppocr_cls", 42, dims={"_d1": 48, "_d2": 192}),
    Case("efficientnet_lite0", 34),
    Case("train_small_transformer", 8),
    Case("train_small_lstm", 58, "simplify(opset=20), unroll, simplify, quantize(scheme='static'), fold"),
    Case("minilm", 36, dims={"sequence": 12}),
    Case("train_small_gpt", 17),
    Case("ppocr_rec", 33),
    Case("silero", 5),
)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_real_model_is_bit_for_bit_the_same(case: Case) -> None:
    """On the chip, and lowered as a graph, against ONNX Runtime's integer kernels.

    ONNX Runtime has the sizes that the chip has, one sample at a time. With symbolic ones it leaves out fusions (a sum with the layer
    normalization behind it) and rounds otherwise; products of floats it computes otherwise for several samples than for one.
    """
    model = zoo[case.name]
    feeds = model.feeds(16)
    program = nw.load(model.onnx())
    static = nw.compile(program, case.pipeline, calibration=feeds, latency=False, threads=1, dims=case.dims).program
    chip = resolve("generic-28nm")
    onto = lower_graph(static, Context(calibration=feeds), dims=case.dims, arch=chip).program
    assert count(onto, "CrossbarMatMul") == case.products
    bound = run(static, (Bind(),), Context(calibration=feeds, dims=case.dims)).program
    machine = Machine(build(onto, chip, name=case.name), on_onnxruntime, threads=1)
    sizes = {value.name or "": tuple(static_shape(value) or ()) for value in bound.graph.inputs}
    singles = [{name: array[:1] for name, array in one.items()} for one in feeds]
    fitting = [one for one in singles if all(one[name].shape == sizes[name] for name in sizes)]
    assert fitting
    for one in fitting[:3]:
        wanted = outputs(bound, one)
        assert any(array.size > 1 for array in wanted.values())
        for found in (outputs(onto, one), machine.run(one)[0]):
            for name, array in wanted.items():
                np.testing.assert_array_equal(found[name], array)


def _equal(static: Program, onto: Program, feeds: dict[str, np.ndarray]) -> None:
    wanted, found = outputs(static, feeds), outputs(onto, feeds)
    for name, array in wanted.items():
        assert array.size > 1
        np.testing.assert_array_equal(found[name], array)
