"""A trained transformer with its attention in arrays: ONNX Runtime's integers, and the accuracy that it had."""

from __future__ import annotations

import numpy as np
import pytest

import netwright as nw
from benchmarks._attention import attention
from benchmarks._cim import JOBS
from benchmarks.table import Row
from benchmarks.zoo import zoo
from netwright.backends.cim.arch import resolve
from netwright.backends.cim.executable import CimExecutable
from netwright.backends.cim.lowering import Bind
from netwright.backends.cim.target import CimTarget
from netwright.backends.onnxruntime import OrtExecutor, lower
from netwright.passes import Context, Pipeline, run

MODEL, CHIP = zoo["train_small_transformer"], "generic-28nm"


@pytest.mark.slow
def test_it_equals_onnx_runtime() -> None:
    context = Context(calibration=MODEL.feeds(16), executor=OrtExecutor(), target=CimTarget(resolve(CHIP)))
    pipeline = Pipeline.parse("simplify(opset=20), quantize(scheme='static', attention='arrays'), fold")
    integers = run(nw.load(MODEL.onnx()), pipeline, context).program
    result = nw.compile(integers, "crossbars(attention='arrays')", target=f"cim:{CHIP}", latency=False, threads=1)
    executable = result.executable
    assert isinstance(executable, CimExecutable)
    assert sum(bool(matrix.source) for matrix in executable.chip.matrices) == 4
    reference = lower(run(integers, (Bind(),), Context()).program, threads=1)
    for feeds in MODEL.feeds(6, seed=1):
        ours, theirs = executable.run(feeds), reference.run(feeds)
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name], value)


@pytest.mark.slow
def test_accuracy_stays_and_short_sentences_cost_more() -> None:
    vector, arrays = (figures(row) for row in attention(MODEL, JOBS[MODEL.name], CHIP, 4, quick=True))
    assert abs(vector[MODEL.primary] - arrays[MODEL.primary]) < 0.01
    assert (vector["writes"], arrays["writes"]) == (0, 16)
    assert arrays["µJ"] > vector["µJ"]
    assert arrays["vector units µJ"] < 0.7 * vector["vector units µJ"]


def figures(row: Row) -> dict[str, float]:
    """The numbers of a row."""
    return {name: float(cell) for name, cell in row.items() if isinstance(cell, int | float)}
