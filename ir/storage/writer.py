"""Writes models: the skeleton from the graph, untouched tensors from file to file, others one at a time."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
import onnx_ir

from netwright.ir.errors import ModelFileError, UnsupportedModelError
from netwright.ir.storage.layout import Layout, Placed, layout_of
from netwright.ir.storage.limits import INLINE_LIMIT, PAGE_ALIGNED_FROM, PROTOBUF_LIMIT
from netwright.ir.storage.mapped import MappedTensor
from netwright.ir.storage.region import Region

_PAGE, _LINE = 4096, 64


def write_model(
    model: onnx_ir.Model,
    path: str | os.PathLike[str],
    *,
    external: bool | str | None = None,
    value_info: bool = False,
    sparse: bool = False,
) -> tuple[Path, ...]:
    """Save a model; a killed or failed save leaves what was there before.

    The output may be the file that the model was loaded from. Untouched tensors are copied file to file; lazy ones are evaluated
    one at a time and dropped. Each file is written beside its place and renamed; external data is renamed first.

    Args:
        model: left as it is.
        path: where to. A symbolic link is followed; a device or pipe is written directly.
        external: `None`: one file up to protobuf's limit of 2 GB, else weights in `<name>.data` beside it. `False`: one file or an
            error. `True`, or the data file's name: weights of 1 kB and more in a file beside it.
        value_info: whether types and shapes of inner values are written. Readers infer them; stale ones upset quantizers, and where they
            stand ONNX Runtime 1.31 fuses residuals into SkipLayerNormalization, slower on CPUs than what it replaces.
        sparse: write weights with many zeros in compact form, where it takes fewer bytes; ONNX Runtime makes them dense while it opens a
            session, and `read_model` while it reads. See `netwright.ir.storage.packed`.

    Returns:
        The files written, the model first.

    Raises:
        ModelFileError: a file cannot be written.
        UnsupportedModelError: the model does not fit one file and `external=False`; its opset is too old for `sparse`.
    """
    target = Path(os.path.realpath(path))
    shelf = _plan(model, external=external, name=f"{target.name}.data", value_info=value_info, sparse=sparse)
    regions = _regions(model)
    if shelf.tensors:
        data = target.with_name(shelf.location)
        with _written(data) as data_file, _written(target) as file:
            _stream_shelf(shelf, data_file, regions)
            _stream(shelf.layout, file, regions)
        return target, data
    with _written(target) as file:
        _stream(shelf.layout, file, regions)
    return (target,)


def saved_bytes(
    model: onnx_ir.Model,
    *,
    external: bool | str | None = None,
    value_info: bool = False,
    sparse: bool = False,
    name: str = "model.onnx",
) -> int:
    """Exactly how many bytes `write_model` would write, all files together. No tensor's data is read, but with `sparse`.

    Args:
        model: left as it is.
        external: as for `write_model`.
        value_info: as for `write_model`.
        sparse: as for `write_model`.
        name: the file's name, which each tensor repeats where weights lie in a file beside it.
    """
    shelf = _plan(model, external=external, name=f"{name}.data", value_info=value_info, sparse=sparse)
    return shelf.layout.size + shelf.size


def serialize_model(model: onnx_ir.Model, *, value_info: bool = False) -> bytes:
    """The model as one serialized ModelProto, weights included.

    Raises:
        UnsupportedModelError: it would be over protobuf's limit of 2 GB.
    """
    layout = layout_of(model, value_info=value_info)
    if layout.size > PROTOBUF_LIMIT:
        raise _too_large(layout.size)
    return b"".join(part if isinstance(part, bytes) else _raw_bytes(part) for part in layout.parts)


@runtime_checkable
class _Writes(Protocol):
    """A tensor that can write itself, as those of onnx_ir from 0.1.11 on can."""

    def tofile(self, file: BinaryIO, /) -> None: ...


@dataclass(slots=True)
class _Shelf:
    """What goes into the model's file and what into its data file, each tensor with its place."""

    layout: Layout
    location: str
    tensors: list[tuple[onnx_ir.TensorProtocol, int]]
    size: int


def _plan(model: onnx_ir.Model, *, external: bool | str | None, name: str, value_info: bool, sparse: bool) -> _Shelf:
    if not external:
        layout = layout_of(model, value_info=value_info, sparse=sparse)
        if layout.size <= PROTOBUF_LIMIT:
            return _Shelf(layout, name, [], 0)
        if external is False:
            raise _too_large(layout.size)
    location = external if isinstance(external, str) else name
    if Path(location).name != location or location in ("", ".", ".."):
        raise ModelFileError(
            "External data must be a plain file name beside the model.", place=location, remedy="Give a name such as 'model.onnx.data'."
        )
    shelf = _Shelf(Layout(), location, [], 0)

    def place(tensor: onnx_ir.TensorProtocol) -> Placed | None:
        if tensor.dtype == onnx_ir.DataType.STRING or tensor.nbytes < INLINE_LIMIT:
            return None
        step = _PAGE if tensor.nbytes >= PAGE_ALIGNED_FROM else _LINE
        offset = -(-shelf.size // step) * step
        shelf.tensors.append((tensor, offset))
        shelf.size = offset + tensor.nbytes
        return Placed(location, offset, tensor.nbytes)

    shelf.layout = layout_of(model, place=place, value_info=value_info, sparse=sparse)
    if shelf.layout.size > PROTOBUF_LIMIT:
        raise _too_large(shelf.layout.size)
    return shelf


def _too_large(size: int) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"The model takes {size / 1e9:.1f} GB as one file; protobuf, and so ONNX, ends at 2 GB.",
        remedy="Save it with external data, weights in a file beside it.",
    )


def _stream(layout: Layout, file: BinaryIO, regions: list[Region]) -> None:
    for part in layout.parts:
        if isinstance(part, bytes):
            file.write(part)
        else:
            _append(part, file, regions)


def _stream_shelf(shelf: _Shelf, file: BinaryIO, regions: list[Region]) -> None:
    position = 0
    for tensor, offset in shelf.tensors:
        file.write(b"\0" * (offset - position))
        _append(tensor, file, regions)
        position = offset + tensor.nbytes


def _append(tensor: onnx_ir.TensorProtocol, file: BinaryIO, regions: list[Region]) -> None:
    """Write a tensor's raw bytes, then give back the memory that computing it has drawn in."""
    if isinstance(tensor, MappedTensor):
        tensor.tofile(file)
        return
    start = file.tell() if file.seekable() else None
    if isinstance(tensor, _Writes):
        tensor.tofile(file)
    else:
        file.write(_raw_bytes(tensor))
    if start is not None and file.tell() - start != tensor.nbytes:
        raise ModelFileError(
            f"A tensor of {tensor.nbytes} bytes wrote {file.tell() - start}.",
            place=tensor.name,
            remedy="Its dtype or shape is not what it computes.",
        )
    if tensor.nbytes >= PAGE_ALIGNED_FROM:
        for region in regions:
            region.release()


def _raw_bytes(tensor: onnx_ir.TensorProtocol) -> bytes:
    if (
        isinstance(tensor, onnx_ir.Tensor)
        and isinstance(tensor.raw, np.ndarray)
        and tensor.raw.dtype.byteorder in "=|<"
        and tensor.dtype.bitwidth >= 8
    ):
        return tensor.raw.tobytes()
    return tensor.tobytes()


def _regions(model: onnx_ir.Model) -> list[Region]:
    found: dict[int, Region] = {}
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in graph.initializers.values():
            if isinstance(value.const_value, MappedTensor):
                found[id(value.const_value.region)] = value.const_value.region
    return list(found.values())


@contextmanager
def _written(path: Path) -> Generator[BinaryIO]:
    """A file to write that takes the path's place once all went well."""
    if path.exists() and not path.is_file():
        if path.is_dir():
            raise ModelFileError("This is a folder.", place=str(path), remedy="Name a file to write to.")
        with path.open("wb") as file:
            yield file
        return
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise ModelFileError(
            f"The file cannot be written: {error.strerror or error}.", place=str(path), remedy="Check folder, permissions and free space."
        ) from error
    finally:
        part.unlink(missing_ok=True)
