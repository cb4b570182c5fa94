"""A tensor whose bytes stay where they are in a file until someone reads them."""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from typing import Any, BinaryIO

import numpy as np
import onnx_ir
from numpy.typing import DTypeLike

from netwright.ir.storage.limits import MAP_FROM
from netwright.ir.storage.region import Region


class MappedTensor(onnx_ir.TensorProtocol):
    """Elements at `[offset, offset + nbytes)` of a region, little endian and in ONNX's raw layout.

    `numpy()` is read-only: a copy of a small tensor, a view of the mapped file for a large one, of any alignment (types of under 8
    bits are unpacked into a copy). Pages of a view that were touched count as memory of the process until `release()`.

    Args:
        region: the file, or bytes in memory.
        offset: the first byte.
        dtype: element type; strings have no raw layout and are not mapped.
        dims: the shape.
        name: the tensor's name.
    """

    __slots__ = ("doc_string", "dtype", "meta", "metadata_props", "name", "offset", "raw", "shape")

    name: str | None
    shape: onnx_ir.ShapeProtocol
    dtype: onnx_ir.DataType
    doc_string: str | None
    raw: Region
    metadata_props: MutableMapping[str, str]
    meta: MutableMapping[str, Any]

    def __init__(
        self,
        region: Region,
        offset: int,
        dtype: onnx_ir.DataType,
        dims: tuple[int, ...],
        *,
        name: str | None = None,
        doc_string: str | None = None,
        metadata_props: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.doc_string = doc_string
        self.metadata_props = metadata_props or {}
        self.meta = {}
        self.raw = region
        self.offset = offset
        self.dtype = dtype
        self.shape = onnx_ir.Shape(dims, frozen=True)

    @property
    def region(self) -> Region:
        """Where the bytes lie."""
        return self.raw

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape.numpy())

    @property
    def nbytes(self) -> int:
        """Bytes in the file: elements of under 8 bits are packed."""
        return -(-self.size * self.dtype.bitwidth // 8)

    def numpy(self) -> np.ndarray:
        """The elements, not to be written to; see the class for what is a copy and what a view."""
        small = self.nbytes < MAP_FROM
        buffer, offset = (self.tobytes(), 0) if small else (self.region.buffer, self.offset)
        bits = self.dtype.bitwidth
        if bits < 8:
            array = unpack(np.frombuffer(buffer, dtype=np.uint8, count=self.nbytes, offset=offset), bits, self.size, self.dtype.numpy())
        else:
            array = np.frombuffer(buffer, dtype=np.dtype(self.dtype.numpy()).newbyteorder("<"), count=self.size, offset=offset)
        array = array.reshape(self.shape.numpy())
        array.flags.writeable = False
        return array

    def tobytes(self) -> bytes:
        """A copy of the bytes, read without mapping them."""
        return self.region.read(self.offset, self.nbytes)

    def tofile(self, file: BinaryIO) -> None:
        """Append the bytes to a file without reading them into the process where the system can."""
        self.region.copy(self.offset, self.nbytes, file)

    def release(self) -> None:
        """Give back the memory of the pages that reading has brought in; views stay valid."""
        self.region.release(self.offset, self.nbytes)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, *, stream: object = None) -> object:
        return self.numpy().copy().__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __repr__(self) -> str:
        return f"MappedTensor<{self.dtype},{self.shape}>({self.region.place!r}, offset={self.offset}, name={self.name!r})"


def unpack(packed: np.ndarray, bits: int, count: int, dtype: np.dtype) -> np.ndarray:
    """Elements of 2, 4 or 6 bits, lowest bits first, each in a byte of its own (ONNX, `TensorProto.raw_data`).

    Args:
        packed: bytes, [ceil(count * bits / 8)].
        bits: bits of one element.
        count: how many elements.
        dtype: the elements' type, one byte wide.
    """
    if 8 % bits:
        stream = np.unpackbits(packed, bitorder="little")[: count * bits].reshape(count, bits)
        return np.packbits(stream, axis=1, bitorder="little").reshape(count).view(dtype)
    per_byte = 8 // bits
    codes = np.empty((packed.size, per_byte), dtype=np.uint8)
    for place in range(per_byte):
        codes[:, place] = (packed >> np.uint8(bits * place)) & np.uint8((1 << bits) - 1)
    return codes.reshape(-1)[:count].view(dtype)
