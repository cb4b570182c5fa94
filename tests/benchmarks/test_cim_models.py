"""Quantized models that benchmarks keep are made again whenever something that made them is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netwright as nw
from benchmarks import _cim_models
from benchmarks._cim_models import key

FEEDS = [{"x": np.arange(6, dtype=np.float32)}, {"x": np.ones(6, np.float32)}]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"weights")
    return path


def test_the_same_has_one_key(model: Path) -> None:
    assert key(model, FEEDS, "fold") == key(model, [dict(batch) for batch in FEEDS], "fold")


def test_whatever_changes_changes_the_key(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [key(model, FEEDS, "fold"), key(model, FEEDS, "simplify, fold"), key(model, FEEDS[:1], "fold")]
    keys.append(key(model, [{"x": FEEDS[0]["x"] + 1}, FEEDS[1]], "fold"))
    model.write_bytes(b"weightS")
    keys.append(key(model, FEEDS, "fold"))
    model.with_name("m.onnx.data").write_bytes(b"outside")
    keys.append(key(model, FEEDS, "fold"))
    monkeypatch.setattr(nw, "__version__", "9.9")
    keys.append(key(model, FEEDS, "fold"))
    monkeypatch.setattr(_cim_models, "_code", lambda: "other")
    keys.append(key(model, FEEDS, "fold"))
    assert len(set(keys)) == len(keys) == 8
    assert all(len(one) == 16 for one in keys)


def test_the_code_is_all_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    whole = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.append(path)
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    _cim_models._code.__wrapped__()  # pyright: ignore[reportPrivateUsage]
    names = {path.relative_to(Path(nw.__file__).parent).as_posix() for path in read}
    assert {"compiling.py", "passes/quantize/zeros.py", "ir/program.py", "backends/onnxruntime/prepare.py"} <= names
