"""The examples run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir

import netwright as nw
from netwright.ir.coupling import coupling
from netwright.ir.program import Program
from tests.models.registry import SMALL_MODELS, traced
from tests.passes.programs import attention

EXAMPLES = Path(__file__).parent.parent / "examples"


def ran(name: str, *arguments: object) -> str:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}).stdout


def test_from_torch_keeps_its_accuracy(tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    report = ran("from_torch.py", out)
    assert "metric" in report
    assert out.stat().st_size < 150_000
    assert any(node.op_type == "MatMulInteger" for node in nw.load(out).nodes())


def test_which_rewrite_lists_actions_with_errors(tmp_path: Path) -> None:
    nw.save(attention(), tmp_path / "m.onnx")
    lines = ran("which_rewrite.py", tmp_path / "m.onnx", "simplify, quantize").splitlines()
    assert lines
    assert all("max abs error" in line for line in lines)


def test_train_a_file_learns_and_stores_small_integers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(256, 64)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=features, labels=(features[:, :32].sum(1) > features[:, 32:].sum(1)).astype(np.int64))
    nw.save(classifier(), tmp_path / "m.onnx")
    printed = ran("train_a_file.py", tmp_path / "m.onnx", tmp_path / "d.npz", tmp_path / "out.onnx")
    assert "fine-tuning" in printed
    assert "left alone: %head" in printed
    types = {value.dtype for value in nw.load(tmp_path / "out.onnx").initializers()}
    assert onnx_ir.DataType.INT4 in types


def test_prune_heads_shows_and_removes_them(tmp_path: Path) -> None:
    program, model = traced("encoder_separate_qkv"), SMALL_MODELS["encoder_separate_qkv"]
    nw.save(program, tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", **model.feeds(batch=64, length=8))  # pyright: ignore[reportArgumentType]
    lines = ran("prune_heads.py", tmp_path / "m.onnx", tmp_path / "d.npz", tmp_path / "out.onnx", 0.5).splitlines()
    heads = [group.size for group in program.fact(coupling).groups if group.kind == "heads"]
    assert [len(line.split(": ")[1].split(", ")) for line in lines[: len(heads)]] == heads
    off = [float(line.rpartition(" ")[2]) for line in lines if "relative error" in line]
    assert off[1] < off[0]
    left = [group.size for group in nw.load(tmp_path / "out.onnx").fact(coupling).groups if group.kind == "heads"]
    assert left == [size // 2 for size in heads]


def classifier() -> Program:
    """Two linear layers without weights worth keeping: [N, 64] → [N, 2]."""
    rng = np.random.default_rng(1)
    text = """<ir_version: 10, opset_import: ["" : 21]>
    classifier (float[N, 64] x, float[64, 128] w, float[128, 2] head) => (float[N, 2] y) {
        h = MatMul(x, w)
        a = Relu(h)
        y = MatMul(a, head)
    }"""
    model = onnx.parser.parse_model(text)
    for value in list(model.graph.input)[1:]:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        array = (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
        model.graph.input.remove(value)
    return nw.load(model)


def test_on_chips_compares_them(tmp_path: Path) -> None:
    nw.save(classifier(), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32))
    lines = ran("on_chips.py", tmp_path / "m.onnx", tmp_path / "d.npz", "generic-28nm", "neurram").splitlines()
    errors = {line.split(":")[0]: float(line.split("error ")[1].split(",")[0]) for line in lines if "error" in line}
    assert errors["generic-28nm"] < 0.05
    assert errors["generic-28nm"] < errors["neurram"]
