"""Arrays are fitted to a signature, or refused with the reason."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir
import pytest

from netwright.ir import Program
from netwright.ir.errors import DataError
from netwright.ir.signature import fit_feeds, input_ports, output_ports, to_array

TEXT = """
<ir_version: 10, opset_import: ["" : 20]>
g (int64[N, 4] ids, float[N, 4, 8] x) => (float[N, 4, 8] y)
{ s = Cast<to=1>(ids)
  one = Constant<value_ints=[-1]>()
  u = Unsqueeze(s, one)
  y = Add(x, u) }
"""
PORTS = input_ports(Program(onnx_ir.from_onnx_text(TEXT)))


def feeds(**changed: object) -> dict[str, object]:
    return {"ids": np.zeros((2, 4), np.int64), "x": np.zeros((2, 4, 8), np.float32)} | changed


def test_ports_carry_symbols_and_types():
    assert [f"{port.name}: {port}" for port in PORTS] == ["ids: int64[N, 4]", "x: float[N, 4, 8]"]
    assert [port.name for port in output_ports(Program(onnx_ir.from_onnx_text(TEXT)))] == ["y"]


def test_casts_within_a_kind_are_made():
    fitted = fit_feeds(feeds(ids=np.ones((2, 4), np.int32), x=np.full((2, 4, 8), 0.1)), PORTS)
    assert fitted["ids"].dtype == np.int64
    assert fitted["x"].dtype == np.float32


def test_lists_and_strided_arrays_are_taken():
    fitted = fit_feeds(feeds(ids=[[1, 2, 3, 4]], x=np.zeros((8, 4, 1), np.float32).T), PORTS)
    assert fitted["ids"].shape == (1, 4)
    assert fitted["x"].flags.c_contiguous


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ids": np.zeros((2, 4), np.float32)}, "float32 values"),
        ({"ids": np.zeros((2, 4), bool)}, "bool values"),
        ({"x": np.zeros((2, 4, 8), np.int64)}, "int64 values"),
        ({"x": np.full((2, 4, 8), 1e300)}, "overflow"),
        ({"x": np.zeros((4, 8), np.float32)}, "of rank 3"),
        ({"x": np.zeros((2, 4, 7), np.float32)}, "axis 2 is 8"),
        ({"mask": np.zeros(1)}, "no input 'mask'"),
        ({"ids": [[1], [1, 2]]}, "is no array"),
        ({"ids": {"a": 1}}, "no array of numbers"),
        ({"ids": np.full((2, 4), 2**63, np.uint64)}, "do not fit"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_input_named(changed: dict[str, object], message: str):
    with pytest.raises(DataError, match=message) as caught:
        fit_feeds(feeds(**changed), PORTS, where="batch 3")
    assert caught.value.place == f"batch 3, input {next(iter(changed))}"
    assert caught.value.remedy


def test_a_missing_input_is_named():
    with pytest.raises(DataError, match="No value was given for 'x'"):
        fit_feeds({"ids": np.zeros((1, 4), np.int64)}, PORTS)


def test_torch_tensors_are_taken_without_gradient_and_in_types_numpy_lacks():
    torch = pytest.importorskip("torch")
    assert to_array(torch.ones(2, requires_grad=True)).dtype == np.float32
    half = to_array(torch.tensor([1.5, -2.0], dtype=torch.bfloat16))
    assert half.dtype == ml_dtypes.bfloat16
    assert half.astype(np.float32).tolist() == [1.5, -2.0]
