"""The target answers from ONNX Runtime's own registry."""

from __future__ import annotations

from pathlib import Path

import onnx_ir
import pytest

from netwright.backends.onnxruntime import OrtTarget
from netwright.backends.onnxruntime.target import cpu_flags


@pytest.mark.parametrize(
    ("op_type", "domain", "dtype", "there"),
    [
        ("MatMul", "", None, True),
        ("MatMul", "ai.onnx", onnx_ir.DataType.FLOAT, True),
        ("MatMul", "", onnx_ir.DataType.STRING, False),
        ("MatMulNBits", "com.microsoft", onnx_ir.DataType.FLOAT, True),
        ("DynamicQuantizeLSTM", "com.microsoft", None, True),
        ("MatMulNBits", "", None, False),
        ("Bogus", "", None, False),
    ],
)
def test_kernels_are_known_by_operator_domain_and_type(op_type: str, domain: str, dtype: onnx_ir.DataType | None, there: bool):
    assert OrtTarget().supports(op_type, domain, dtype) is there


def test_kernels_are_known_by_opset():
    assert not OrtTarget().supports("Gelu", opset=19)
    assert OrtTarget().supports("Gelu", opset=20)


def test_instruction_sets_are_read_from_linux(tmp_path: Path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\nprocessor\t: 1\n")
    assert cpu_flags(tmp_path / "cpuinfo") == {"fpu", "avx2", "avx512_vnni"}
    assert cpu_flags(tmp_path / "absent") == frozenset()


def test_the_library_is_loaded_only_when_asked():
    import subprocess
    import sys

    code = "import sys, netwright.backends.onnxruntime as b; b.OrtTarget(); assert not {'onnxruntime', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
