"""The examples run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import netwright as nw
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
