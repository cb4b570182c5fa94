"""Casts, and integers of every type: values against numpy's and ml_dtypes'."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import onnx_ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from netwright.backends.torch.dtypes import to_array, to_tensor
from netwright.backends.torch.ops import arithmetic, bits, casts, logic
from netwright.ir.errors import NetwrightError

Code = onnx_ir.DataType
UNSIGNED = ("uint16", "uint32", "uint64")
NAN = float("nan")


def cast(values: object, dtype: torch.dtype, to: onnx_ir.DataType, *, saturate: int = 1, carried: bool = False) -> torch.Tensor:
    return casts.cast(torch.tensor(values, dtype=dtype), to=int(to), saturate=saturate, carried=carried)


def whole(kind: str, count: int = 60) -> np.ndarray:
    """Integers from all over a type's range, its ends included."""
    limits = np.iinfo(kind)
    drawn = np.random.default_rng(3).integers(limits.min, limits.max, count, dtype=np.dtype(kind), endpoint=True)
    return np.concatenate([drawn, np.array([limits.min, limits.max, 1, limits.max // 2 + 1], kind)])


# ---- casts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("saturate", [0, 1])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"])
def test_a_cast_to_8_bit_floats_rounds_to_even_and_saturates_if_asked(name: str, saturate: int) -> None:
    edges = np.array([464, 464.01, 248, 247.9, 61440, 61439, 1e6, -1e6, 1e-7, 0, np.inf, -np.inf, np.nan], np.float32)
    values, kind = np.concatenate([np.linspace(-500, 500, 401, dtype=np.float32), edges]), np.dtype(getattr(ml_dtypes, name))
    largest = torch.finfo(getattr(torch, name)).max
    expected = (np.clip(values, -largest, largest) if saturate else values).astype(kind).astype(np.float32)
    code = Code.from_numpy(kind)
    found = casts.cast(torch.from_numpy(values), to=int(code), saturate=saturate)
    np.testing.assert_array_equal(to_array(found).astype(np.float32), expected)


@pytest.mark.parametrize("round_mode", ["up", "down", "nearest"])
def test_a_cast_to_powers_of_two_rounds_the_way_asked(round_mode: str) -> None:
    values = np.append(np.random.default_rng(0).lognormal(0, 9, 200), [1.0, 1.5, 3.0, 2.0**-126, 3.4e38]).astype(np.float32)
    expected = numpy_helper.to_float8e8m0(values, True, round_mode)
    found = casts.cast(torch.from_numpy(values), to=int(Code.FLOAT8E8M0), round_mode=round_mode)
    np.testing.assert_array_equal(to_array(found).view(np.uint8), expected.view(np.uint8))


def test_a_cast_to_powers_of_two_without_saturation_has_no_number_for_what_is_out_of_range() -> None:
    found = cast([0.0, np.inf, 3.4e38, 1.0], torch.float32, Code.FLOAT8E8M0, saturate=0)
    assert found.isnan().tolist() == [True, True, True, False]
    held = cast([np.inf, 3.4e38], torch.float32, Code.FLOAT8E8M0)
    assert held.to(torch.float32).tolist() == [2.0**127, 2.0**127]


@pytest.mark.parametrize(("code", "kind"), [(Code.INT4, "int4"), (Code.UINT4, "uint4"), (Code.INT2, "int2"), (Code.UINT2, "uint2")])
def test_a_cast_to_a_few_bits_drops_the_fraction_and_the_higher_bits(code: onnx_ir.DataType, kind: str) -> None:
    values = np.arange(-9, 17).astype(np.float32) + 0.25
    expected = np.trunc(values).astype(np.int8).astype(getattr(ml_dtypes, kind)).astype(np.int64)
    assert cast(values, torch.float32, code).tolist() == expected.tolist()


def test_casts_between_integers_wrap_around() -> None:
    assert cast([200, -1, 70000], torch.int64, Code.INT8).tolist() == [-56, -1, 112]
    assert cast([-1, 2], torch.int32, Code.UINT64).tolist() == [2**64 - 1, 2]
    assert cast([2**64 - 1], torch.uint64, Code.INT32).tolist() == [-1]


def test_a_cast_to_integers_drops_the_fraction_and_to_bool_keeps_whatever_is_not_zero() -> None:
    assert cast([-1.7, 1.7, 0.3], torch.float32, Code.INT32).tolist() == [-1, 1, 0]
    assert cast([-0.0, 0.3, NAN], torch.float32, Code.BOOL).tolist() == [False, True, True]


def test_a_cast_passes_gradients_to_carried_integers_and_from_them() -> None:
    x = torch.tensor([1.7, -2.2, 130.0], requires_grad=True)
    carried = casts.cast(x, to=int(Code.INT8), carried=True)
    assert carried.tolist() == [1.0, -2.0, -126.0]
    casts.cast(carried, to=int(Code.DOUBLE)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


def test_true_integers_stay_integers_where_carried_ones_are_asked_for() -> None:
    assert cast([3], torch.int8, Code.INT32, carried=True).dtype == torch.int32


def test_a_cast_to_a_type_that_torch_lacks_is_refused_by_name() -> None:
    with pytest.raises(NetwrightError, match="FLOAT4E2M1"):
        cast([1.0], torch.float32, Code.FLOAT4E2M1)


def test_cast_like_takes_the_other_tensors_type() -> None:
    x = torch.tensor([9.5, 1e6])
    assert casts.cast_like(x, torch.zeros(1, dtype=torch.int64)).tolist() == [9, 1000000]
    eighth = casts.cast_like(x, torch.zeros(1).to(torch.float8_e4m3fn), saturate=0)
    assert eighth.dtype == torch.float8_e4m3fn
    assert eighth.isnan().tolist() == [False, True]


# ---- integers ----------------------------------------------------------------------------------------------------

BINARY: dict[str, tuple[Callable[..., torch.Tensor], Callable[..., np.ndarray]]] = {
    "add": (arithmetic.add, np.add),
    "subtract": (arithmetic.subtract, np.subtract),
    "multiply": (arithmetic.multiply, np.multiply),
    "maximum": (arithmetic.maximum, np.maximum),
    "minimum": (arithmetic.minimum, np.minimum),
    "modulo": (arithmetic.modulo, np.mod),
    "less": (logic.less, np.less),
    "greater_or_equal": (logic.greater_or_equal, np.greater_equal),
    "equal": (logic.equal, np.equal),
    "bitwise_and": (bits.bitwise_and, np.bitwise_and),
    "bitwise_xor": (bits.bitwise_xor, np.bitwise_xor),
}


@pytest.mark.parametrize("kind", UNSIGNED)
@pytest.mark.parametrize("name", BINARY)
def test_wide_unsigned_integers_are_computed_as_numpy_does(name: str, kind: str) -> None:
    ours, theirs = BINARY[name]
    x, y = whole(kind), whole(kind)[::-1].copy()
    y[y == 0] = 3
    with np.errstate(over="ignore"):
        expected = theirs(x, y)
    found = ours(to_tensor(x), to_tensor(y)).numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [*UNSIGNED, "int8", "int64"])
def test_integers_are_divided_towards_zero(kind: str) -> None:
    x, y = whole(kind), whole(kind)[::-1].copy()
    y[(y == 0) | (y == -1 if kind.startswith("i") else y == 0)] = 3
    quotients = [abs(int(a)) // abs(int(b)) * (1 if (a < 0) == (b < 0) else -1) for a, b in zip(x, y, strict=True)]
    found = arithmetic.divide(to_tensor(x), to_tensor(y)).numpy()
    assert found.dtype == np.dtype(kind)
    assert found.tolist() == quotients


def test_dividing_the_largest_integers_of_64_bits_is_exact() -> None:
    x = np.array([2**64 - 1, 2**64 - 1, 2**64 - 1, 2**63, 5, 2**64 - 2], np.uint64)
    y = np.array([1, 2, 2**63, 2**63 + 1, 2**63 + 7, 2**64 - 1], np.uint64)
    assert arithmetic.divide(to_tensor(x), to_tensor(y)).tolist() == (x // y).tolist()


@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_the_remainder_has_the_sign_of_the_divisor_or_with_fmod_of_the_dividend(kind: str, fmod: int) -> None:
    x, y = np.array([-7, 7, -7, 7, 5], kind), np.array([3, 3, -3, -3, 5], kind)
    expected = np.fmod(x, y) if fmod else np.mod(x, y)
    np.testing.assert_array_equal(arithmetic.modulo(to_tensor(x), to_tensor(y), fmod=fmod).numpy(), expected)


def test_a_power_has_the_type_of_its_base() -> None:
    ints, floats = torch.tensor([2, 3]), torch.tensor([2.0, 3.0])
    assert arithmetic.power(ints, torch.tensor([0.5, 2.0])).tolist() == [1, 9]
    assert arithmetic.power(floats, torch.tensor([2, 3])).tolist() == [4.0, 27.0]
    assert arithmetic.power(floats, 2.0).tolist() == [4.0, 9.0]
    assert arithmetic.power(torch.tensor([3], dtype=torch.uint32), torch.tensor([4], dtype=torch.uint16)).dtype == torch.uint32


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("kind", ["uint8", *UNSIGNED, "int8", "int32", "int64"])
def test_shifts_by_less_than_nothing_or_all_bits_leave_only_the_sign(kind: str, direction: str) -> None:
    size = np.iinfo(kind).bits
    counts = np.array([0, 1, size - 1, size, size + 1, *([-1] if kind.startswith("i") else [])], kind)
    x, y = (grid.reshape(-1) for grid in np.meshgrid(whole(kind, 8), counts))
    shifted = [_shifted(int(a), int(b), kind, direction) for a, b in zip(x, y, strict=True)]
    assert bits.bit_shift(to_tensor(x), to_tensor(y), direction=direction).tolist() == shifted


def _shifted(value: int, count: int, kind: str, direction: str) -> int:
    size = np.iinfo(kind).bits
    if not 0 <= count < size:
        return -1 if direction == "RIGHT" and value < 0 else 0
    if direction == "RIGHT":
        return value >> count
    kept = (value << count) & ((1 << size) - 1)
    return kept - (1 << size) if kind.startswith("i") and kept >> (size - 1) else kept


def test_bits_are_read_as_another_type() -> None:
    assert bits.bit_cast(torch.tensor([1.0]), to=int(Code.INT32)).tolist() == [0x3F800000]
    assert bits.bit_cast(torch.tensor([-1], dtype=torch.int8), to=int(Code.UINT4)).tolist() == [15]
    assert bits.bit_cast(torch.tensor([15, 7], dtype=torch.uint8), to=int(Code.INT4)).tolist() == [-1, 7]
    assert bits.bitwise_not(torch.tensor([1], dtype=torch.uint16)).tolist() == [0xFFFE]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
@settings(max_examples=50, deadline=None)
def test_clipping_integers_of_64_bits_goes_by_their_value(numbers: list[int], low: int, high: int) -> None:
    x, bounds = torch.tensor(numbers, dtype=torch.uint64), [torch.tensor(one, dtype=torch.uint64) for one in (low, high)]
    expected = [min(max(one, low), high) for one in numbers]
    assert arithmetic.clip(x, *bounds).tolist() == expected
    assert arithmetic.clip(x, low, high).tolist() == expected
