"""The codec: every array comes back exactly, sizes are what is written, and damaged bytes are refused."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.codec import METHODS, CodecError, Method, decode, encode, sizes
from netwright.codec.loops import read_codes, write_codes

ENGINES: tuple[Literal["numba", "numpy"], ...] = ("numba", "numpy")


def sparse(size: int, zeros: float, dtype: str = "int8", spread: float = 12.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    values = np.clip(np.rint(rng.laplace(0, spread, size)), max(limits.min, -(2**40)), min(limits.max, 2**40)).astype(dtype)
    values[rng.random(size) < zeros] = 0
    return values


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("zeros", [0.0, 0.6, 0.99, 1.0])
def test_every_method_and_engine_gives_the_array_back_whichever_wrote_it(
    method: Method, engine: Literal["numba", "numpy"], zeros: float
) -> None:
    array = sparse(30_000, zeros).reshape(3, 100, 100)
    data = encode(array, method=method, engine=engine)
    assert len(data) == sizes(array)[method]
    for reader in ENGINES:
        back = decode(data, engine=reader)
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(["int8", "uint8", "int16", "uint16", "int32"]),
    size=st.integers(0, 400),
    zeros=st.floats(0, 1),
    spread=st.sampled_from([0.3, 5.0, 1e4, 1e9]),
    seed=st.integers(0, 1000),
)
def test_any_array_comes_back(dtype: str, size: int, zeros: float, spread: float, seed: int) -> None:
    array = sparse(size, zeros, dtype, spread, seed)
    for method in METHODS:
        assert np.array_equal(decode(encode(array, method=method, engine="numpy"), engine="numpy"), array)
    assert np.array_equal(decode(encode(array)), array)


@pytest.mark.parametrize("extreme", [-(2**31), 2**31 - 1, -1, 1])
def test_the_ends_of_the_range_come_back(extreme: int) -> None:
    array = np.array([0, extreme, 0, extreme], np.int32)
    for method in METHODS:
        for engine in ENGINES:
            assert np.array_equal(decode(encode(array, method=method, engine=engine), engine=engine), array)


def test_the_smallest_is_chosen_and_which_that_is_depends_on_the_zeros() -> None:
    dense, half, few = sparse(20_000, 0.0, spread=60.0), sparse(20_000, 0.55), sparse(20_000, 0.98)
    for array in (dense, half, few):
        assert len(encode(array)) == min(sizes(array).values())
    smallest = [min(METHODS, key=sizes(array).__getitem__) for array in (dense, half, few)]
    assert smallest == ["dense", "golomb", "runs"]


def test_three_times_fewer_bytes_need_four_fifths_of_zeros_packed_and_fewer_coded() -> None:
    rng = np.random.default_rng(2)
    array = np.rint(rng.laplace(0, 4, 200_000)).astype(np.int8)
    array[array == 0] = 1
    array[rng.random(array.size) < 0.6] = 0
    written = sizes(array)
    assert array.size / written["packed"] < 2.0
    assert array.size / written["golomb"] > 2.5


def test_the_codes_are_those_of_the_paper() -> None:
    out = np.zeros(8, np.uint8)
    assert write_codes(np.array([0, 1, 2, 3]), np.array([0]), out) == 1 + 3 + 3 + 5
    assert "".join(f"{byte:08b}" for byte in out[:2]) == "1010011001000000"
    read = np.zeros(4, np.int64)
    assert read_codes(out[:2], np.array([0]), read) == 12
    assert read.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("method", METHODS)
def test_no_damage_goes_beyond_an_error(method: Method, engine: Literal["numba", "numpy"]) -> None:
    array = sparse(2_000, 0.6)
    data = encode(array, method=method, engine=engine)
    with pytest.raises(CodecError):
        decode(data[:-3], engine=engine)
    with pytest.raises(CodecError):
        decode(data + b"\0\0", engine=engine)
    with pytest.raises(CodecError):
        decode(data[:10], engine=engine)
    rng = np.random.default_rng(1)
    for _ in range(60):
        broken = bytearray(data)
        broken[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        try:
            decode(bytes(broken), engine=engine, limit=1 << 22)
        except CodecError:
            continue


def test_a_header_cannot_ask_for_more_memory_than_the_limit() -> None:
    data = encode(np.zeros((1 << 20,), np.int8))
    assert len(data) < 100
    with pytest.raises(CodecError, match="1048576 elements, more than 1000"):
        decode(data, limit=1000)


def test_floats_are_refused_by_name() -> None:
    with pytest.raises(CodecError, match="float32"):
        encode(np.zeros(3, np.float32))
