"""Where tensors' bytes lie: a file mapped read-only, or bytes in memory."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from typing import BinaryIO, Protocol

from netwright.ir.errors import ModelFileError
from netwright.ir.storage.limits import COPY_CHUNK
from netwright.ir.storage.wire import Buffer

_FALL_BACK = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV, errno.EBADF, errno.EISDIR})
"""Errors of `copy_file_range` and `sendfile` that mean "not between these two files"."""

_WINDOW = 1 << 14
"""Bytes read at once while walking."""

_FAULT_SPAN = 1 << 21
"""The most that the kernel maps around a byte that is touched: one large folio."""


class Region(Protocol):
    """Bytes that tensors are views of."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    @property
    def place(self) -> str:
        """The file, for messages."""
        ...

    @property
    def buffer(self) -> mmap.mmap | bytes:
        """All bytes, read-only, to make views of."""
        ...

    @property
    def walkable(self) -> Buffer:
        """All bytes, to look at a few of them here and there."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """A copy of some bytes, read without mapping them."""
        ...

    def copy(self, offset: int, length: int, file: BinaryIO) -> None:
        """Append `length` bytes from `offset` on to a file."""
        ...

    def release(self, offset: int = 0, length: int | None = None) -> None:
        """Give the memory of pages read back; they are read again from the file when needed."""
        ...


class MemoryRegion:
    """Bytes that the caller handed over."""

    __slots__ = ("buffer", "place")

    def __init__(self, data: bytes, place: str = "<bytes>") -> None:
        self.buffer = data
        self.place = place

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.buffer)

    @property
    def walkable(self) -> Buffer:
        """All bytes, to look at a few of them here and there."""
        return self.buffer

    def read(self, offset: int, length: int) -> bytes:
        """A copy of some bytes, read without mapping them."""
        return self.buffer[offset : offset + length]

    def copy(self, offset: int, length: int, file: BinaryIO) -> None:
        """Append bytes to a file."""
        file.write(memoryview(self.buffer)[offset : offset + length])

    def release(self, offset: int = 0, length: int | None = None) -> None:
        """Give the memory of pages read back; nothing to do for bytes in memory."""
        return


class FileRegion:
    """A file, mapped read-only and held open.

    Because the descriptor is kept, the bytes stay what they were when another file is renamed over this one. A program that
    overwrites the file *in place* changes them, as with every mapped file.

    Raises:
        ModelFileError: the file cannot be read, is empty or is no regular file.
    """

    __slots__ = ("_descriptor", "buffer", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._descriptor = -1
        self.path = Path(path)
        if self.path.is_dir():
            raise ModelFileError("This is a folder, not a model file.", place=self.place, remedy="Name the .onnx file inside it.")
        if self.path.exists() and not self.path.is_file():
            raise ModelFileError("This is not a regular file.", place=self.place, remedy="Copy it to a file first.")
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY)
            if os.fstat(self._descriptor).st_size == 0:
                raise ModelFileError("The file is empty.", place=self.place, remedy="Export or copy the model again.")
            self.buffer = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise ModelFileError("There is no such file.", place=self.place, remedy="Check the path.") from error
        except (OSError, ValueError) as error:
            raise ModelFileError(f"The file cannot be read: {error}.", place=self.place, remedy="Check its permissions.") from error

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.buffer)

    @property
    def place(self) -> str:
        """The file, for messages."""
        return str(self.path)

    @property
    def walkable(self) -> Buffer:
        """All bytes, to look at a few of them here and there."""
        return _Window(self._descriptor, self.size)

    def read(self, offset: int, length: int) -> bytes:
        """A copy of some bytes, read without mapping them."""
        parts: list[bytes] = []
        while length > 0:
            part = os.pread(self._descriptor, length, offset)
            if not part:
                raise self._shortened()
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def copy(self, offset: int, length: int, file: BinaryIO) -> None:
        """Append bytes to a file; in the kernel where it can, so that no page counts as this process's memory."""
        done = _kernel_copy(self._descriptor, offset, length, file)
        while done < length:
            chunk = os.pread(self._descriptor, min(COPY_CHUNK, length - done), offset + done)
            if not chunk:
                raise self._shortened()
            file.write(chunk)
            done += len(chunk)

    def release(self, offset: int = 0, length: int | None = None) -> None:
        """Give the memory of pages read back; they are read again from the file when needed."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        start = offset - offset % _FAULT_SPAN
        end = self.size if length is None else min(self.size, -(-(offset + length) // _FAULT_SPAN) * _FAULT_SPAN)
        if end > start:
            self.buffer.madvise(mmap.MADV_DONTNEED, start, end - start)

    def _shortened(self) -> ModelFileError:
        return ModelFileError("The file became shorter while it was in use.", place=self.place, remedy="Load the model again.")


class _Window:
    """Single bytes of a file, by way of a small buffer.

    Looking at one byte of a mapping may map 2 MB around it (large folios of the page cache), which then count as memory in use.
    """

    __slots__ = ("_bytes", "_descriptor", "_end", "_size", "_start")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
        self._bytes, self._start, self._end = b"", 0, 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> int:
        if not self._start <= index < self._end:
            self._bytes = os.pread(self._descriptor, _WINDOW, index)
            self._start, self._end = index, index + len(self._bytes)
        return self._bytes[index - self._start]


def _kernel_copy(source: int, offset: int, length: int, file: BinaryIO) -> int:
    """Bytes copied by `copy_file_range`, else `sendfile`; 0 where neither works between these files."""
    if not hasattr(os, "copy_file_range") or length < COPY_CHUNK // 16:
        return 0
    try:
        target = file.fileno()
    except (OSError, AttributeError):
        return 0
    file.flush()
    position, done = file.tell() if file.seekable() else -1, 0
    if position < 0:
        return 0
    try:
        while done < length:
            step = os.copy_file_range(source, target, length - done, offset + done, position + done)
            if step == 0:
                break
            done += step
    except OSError as error:
        if error.errno not in _FALL_BACK:
            raise
    if done < length:
        file.seek(position + done)
        done += _send(source, target, offset + done, length - done)
    file.seek(position + done)
    return done


def _send(source: int, target: int, offset: int, length: int) -> int:
    done = 0
    try:
        while done < length:
            step = os.sendfile(target, source, offset + done, length - done)
            if step == 0:
                break
            done += step
    except OSError as error:
        if error.errno not in _FALL_BACK:
            raise
    return done
