"""Content digests of tensors: short, stable, and cheap for large ones."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import onnx_ir

from netwright.ir.storage.mapped import MappedTensor

SAMPLE_FROM = 1 << 20
"""Tensors of more bytes than this are hashed by samples, so that a mapped file is not read in whole."""

_BLOCKS = 16
_BLOCK = 4096

_Read = Callable[[int, int], bytes | memoryview]


def digest(tensor: onnx_ir.TensorProtocol, *, size: int = 4) -> str:
    """A hash of a tensor's type, shape and bytes, the same however it is stored.

    Of tensors over 1 MB, 16 evenly spaced blocks of 4 kB stand for the rest: a change that misses them all goes unseen.

    Args:
        tensor: the tensor.
        size: bytes of the hash; the text has twice as many hexadecimal digits.
    """
    state = blake2b(f"{tensor.dtype.value}:{tensor.shape}:".encode(), digest_size=size)
    if tensor.dtype == onnx_ir.DataType.STRING:
        for text in np.asarray(tensor.numpy(), dtype=object).reshape(-1):
            data = text if isinstance(text, bytes) else str(text).encode()
            state.update(len(data).to_bytes(8, "little") + data)
        return state.hexdigest()
    total = tensor.nbytes
    if total <= SAMPLE_FROM:
        state.update(tensor.tobytes())
        return state.hexdigest()
    read = _reader(tensor)
    for index in range(_BLOCKS):
        state.update(read((total - _BLOCK) * index // (_BLOCKS - 1), _BLOCK))
    return state.hexdigest()


def _reader(tensor: onnx_ir.TensorProtocol) -> _Read:
    """How to get at a part of a tensor's bytes, packed as in a file."""
    if isinstance(tensor, MappedTensor):
        return lambda start, count: tensor.region.read(tensor.offset + start, count)
    if tensor.dtype.itemsize < 1:
        whole = memoryview(tensor.tobytes())
        return lambda start, count: whole[start : start + count]
    array = tensor.numpy()
    if not array.flags.c_contiguous or array.dtype.byteorder == ">":
        whole = memoryview(tensor.tobytes())
        return lambda start, count: whole[start : start + count]
    flat = array.reshape(-1).view(np.uint8)
    return lambda start, count: flat[start : start + count].tobytes()
