"""Memory that is given back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netwright as nw
from netwright.backends.onnxruntime.executor import OrtExecutor
from netwright.ir.storage.mapped import MappedTensor
from netwright.passes.context import Context
from netwright.passes.memory import release_pages, release_session
from netwright.passes.quantize.calibration import calibrate
from netwright.passes.quantize.outliers import spreads
from netwright.passes.quantize.rounding import Nearest
from tests.passes.programs import program_of

TEXT = '<ir_version: 10, opset_import: ["" : 20]> one (float[N, 512] x, WEIGHTS) => (float[N, 512] y) { y = MatMul (x, w) }'


class Kept(OrtExecutor):
    """Counts how often it was told to let go."""

    released = 0

    def release(self) -> None:
        self.released += 1
        super().release()


def test_calibration_and_the_search_for_outliers_keep_no_session() -> None:
    program = program_of(TEXT, {"w": np.ones((512, 512), np.float32)})
    data, executor = [{"x": np.ones((1, 512), np.float32)}], Kept()
    executor.run(program, data[0])
    before = executor.released
    calibrate(program, ["x"], Context(executor=executor, calibration=data))
    assert executor.released > before
    assert executor._last is None  # pyright: ignore[reportPrivateUsage]
    before = executor.released
    spreads(program, executor, data, ["x"])
    assert executor.released > before
    release_session(object())  # one that keeps nothing


def test_rounding_gives_the_pages_of_a_weight_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    nw.save(program_of(TEXT, {"w": weight}), tmp_path / "m.onnx")
    program = nw.load(tmp_path / "m.onnx")
    value = program.value("w")
    assert isinstance(value.const_value, MappedTensor)
    released: list[MappedTensor] = []
    monkeypatch.setattr(MappedTensor, "release", lambda tensor: released.append(tensor))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    Nearest().rows(value, value.const_value.numpy(), bits=8)
    Nearest().blocks(value, value.const_value.numpy(), bits=4, block_size=32, symmetric=False)
    release_pages(program.value("x"))  # no weight, nothing to give back
    assert len(released) == 2
    monkeypatch.undo()
    value.const_value.release()
    np.testing.assert_array_equal(value.const_value.numpy(), weight)
