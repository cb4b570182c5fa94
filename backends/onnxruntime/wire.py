"""A graph as ONNX Runtime takes it: serialized without its large weights, which are handed over beside it.

What reaches ONNX Runtime how:

- weights that lie in files (external data, or inside an `.onnx` file, mapped in place) are named by file, offset and length, and
  read from there by ONNX Runtime itself: a session then costs one copy of the weights and nothing on the way (a 378 MB file:
  peak 380 MB, against 1,040 MB by serializing);
- large weights in memory are handed over as arrays, not copied; with them a graph over 2 GB needs no file; those that nothing
  reads are not, since ONNX Runtime drops them first and then misses them;
- the rest, and whatever ONNX Runtime must see while it infers shapes, goes into the serialized graph.

Types of inner values are left out: ONNX Runtime infers them, and stale ones make it refuse a graph.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_ir

from netwright.backends.onnxruntime.binding import Session
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.ir.errors import RunError
from netwright.ir.storage.mapped import MappedTensor
from netwright.ir.storage.region import FileRegion

_INLINE_BYTES = 4096
"""Tensors up to this size go into the serialized graph: shapes, axes, scalars and short vectors."""
_LARGEST_MESSAGE = 2**31 - 1
"""protobuf's limit."""
_BITS_OF_A_BYTE = 8
_IN_MEMORY = "in memory"
"""Stands as the file of a weight that is handed over as an array."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What makes a session.

    Attributes:
        message: the serialized graph.
        folder: where its external files are, if there are any.
        weights: initializers handed over as arrays, by name.
    """

    message: bytes
    folder: Path | None = None
    weights: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])


def load(model: onnx_ir.Model, options: SessionOptions, *, optimized: Path | None = None) -> Session:
    """Make a session of a model that is the caller's own.

    Raises:
        RunError: ONNX Runtime refuses it.
    """
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, MappedTensor):
            value.const_value.release()  # ONNX Runtime reads the file itself
    wire = to_wire(model)
    session = Session(wire.message, options, folder=wire.folder, weights=wire.weights, optimized=optimized)
    for name in wire.weights:
        tensor = model.graph.initializers[name].const_value
        if isinstance(tensor, MappedTensor):
            tensor.release()
    return session


def to_wire(model: onnx_ir.Model) -> Wire:
    """Serialize a model that is the caller's own: its initializers are swapped while this runs, and put back.

    Raises:
        RunError: the graph is over 2 GB even without its initializers (weights in Constant nodes or subgraphs).
    """
    large = [
        (value, tensor)
        for value in model.graph.initializers.values()
        if (tensor := value.const_value) is not None and not _is_small(tensor) and _is_read(value)
    ]
    places = [_place(tensor) for _, tensor in large]
    folder = _busiest_folder([tensor for _, tensor in large], places)
    weights: dict[str, np.ndarray] = {}
    try:
        for (value, tensor), place in zip(large, places, strict=True):
            name = value.name or ""
            if place is not None and place.file.parent == folder:
                value.const_value = _elsewhere(tensor, name, place.file.name, place.offset)
            elif tensor.dtype.bitwidth >= _BITS_OF_A_BYTE:
                weights[name] = np.require(tensor.numpy(), requirements="C")
                value.const_value = _elsewhere(tensor, name, _IN_MEMORY, 0)
        proto = onnx_ir.to_proto(model)
    finally:
        for value, tensor in large:
            value.const_value = tensor
    _drop_inner_types(proto.graph)
    return Wire(_serialize(proto), folder, weights)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor's bytes lie in a file."""

    file: Path
    offset: int


def _place(tensor: onnx_ir.TensorProtocol) -> _Place | None:
    """The file behind a tensor; None for one in memory, or one whose file has since been replaced by another.

    The path is the real one: ONNX Runtime refuses links that lead out of the folder.
    """
    if isinstance(tensor, MappedTensor) and isinstance(tensor.region, FileRegion) and _still_named(tensor.region):
        return _Place(Path(os.path.realpath(tensor.region.path)), tensor.offset)
    if isinstance(tensor, onnx_ir.ExternalTensor):
        return _Place(Path(os.path.realpath(tensor.path)), tensor.offset or 0)
    return None


def _still_named(region: FileRegion) -> bool:
    """True while the path leads to the file that is mapped: saving over a model's own file puts another in its place."""
    try:
        return os.path.samestat(os.fstat(region._descriptor), region.path.stat())  # pyright: ignore[reportPrivateUsage]
    except OSError:
        return False


def _busiest_folder(tensors: Sequence[onnx_ir.TensorProtocol], places: Sequence[_Place | None]) -> Path | None:
    """ONNX Runtime reads external data from one folder: the one with the most bytes."""
    sizes: Counter[Path] = Counter()
    for tensor, place in zip(tensors, places, strict=True):
        if place is not None:
            sizes[place.file.parent] += tensor.nbytes
    return max(sizes, key=lambda folder: sizes[folder]) if sizes else None


def _is_small(tensor: onnx_ir.TensorProtocol) -> bool:
    return tensor.nbytes <= _INLINE_BYTES or tensor.dtype == onnx_ir.DataType.STRING


def _is_read(value: onnx_ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _elsewhere(tensor: onnx_ir.TensorProtocol, name: str, location: str, offset: int) -> onnx_ir.ExternalTensor:
    return onnx_ir.ExternalTensor(location, offset, tensor.nbytes, tensor.dtype, shape=onnx_ir.Shape(tensor.shape.numpy()), name=name)


def _drop_inner_types(graph: onnx.GraphProto) -> None:
    for one in _graphs(graph):
        one.ClearField("value_info")


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
            for inner in attribute.graphs:
                yield from _graphs(inner)


def _serialize(proto: onnx.ModelProto) -> bytes:
    size = proto.ByteSize()
    if size > _LARGEST_MESSAGE:
        raise RunError(
            f"The graph is {size / 1e9:.1f} GB without its initializers; ONNX Runtime takes 2 GB.",
            remedy="Weights in Constant nodes or subgraphs must become initializers: load it with netwright.load.",
        )
    return proto.SerializeToString()
