"""Reads models: a small skeleton is parsed, big tensors stay in their files."""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import onnx
import onnx_ir
from google.protobuf.message import DecodeError

from netwright.ir.errors import ModelFileError
from netwright.ir.pause import collector_paused
from netwright.ir.storage.cut import MARK, Carving, carve
from netwright.ir.storage.external import locate, span
from netwright.ir.storage.formats import foreign_format
from netwright.ir.storage.limits import PROTOBUF_LIMIT
from netwright.ir.storage.mapped import MappedTensor
from netwright.ir.storage.region import FileRegion, MemoryRegion, Region
from netwright.ir.storage.sparse import densify
from netwright.ir.storage.tensors import nbytes_of, payload_fault, shape_fault, tensors_of
from netwright.ir.storage.text import is_text
from netwright.ir.storage.unpacking import unpack_weights


@dataclass(slots=True)
class Skeleton:
    """A model without its big tensors.

    Attributes:
        proto: the model; each tensor left out is marked in it.
        tensors: what was left out, by mark; weights in compact form are dense again, and left out as well.
        place: the file, for messages.
        dropped: what the file held that an ONNX graph for inference has no room for, as sentences.
    """

    proto: onnx.ModelProto
    tensors: list[onnx_ir.TensorProtocol]
    place: str
    dropped: list[str] = field(default_factory=list[str])


def read_model(source: str | os.PathLike[str] | bytes, *, folder: str | os.PathLike[str] | None = None) -> onnx_ir.Model:
    """Read an ONNX model, leaving weights where they are.

    Nothing is checked beyond the files themselves; `netwright.frontends.onnx.load_onnx` checks and normalises the graph.

    Args:
        source: a path, or a serialized ModelProto.
        folder: where external data lies; by default beside the file.

    Raises:
        ModelFileError: the file is missing, damaged, of another format, or claims what it does not hold.
    """
    skeleton = read_skeleton(source, folder=folder)
    return build(skeleton)


def read_skeleton(source: str | os.PathLike[str] | bytes, *, folder: str | os.PathLike[str] | None = None) -> Skeleton:
    """Read everything but the big tensors, and check every tensor's claims; see `read_model`."""
    region: Region = MemoryRegion(source) if isinstance(source, bytes) else FileRegion(source)
    model = None if isinstance(source, bytes) else Path(source)
    home = Path(folder) if folder is not None else (model.parent if model else None)
    carving = _carve(region)
    proto = _parse(carving, region)
    dropped = ["Training information (TrainingInfoProto) is left out: netwright keeps the inference graph."] if carving.training else []
    densify(proto)
    tensors: list[onnx_ir.TensorProtocol] = [*_Shelf(region, carving, home, model).fill(proto)]
    unpack_weights(proto, tensors)
    return Skeleton(proto, tensors, region.place, dropped)


def build(skeleton: Skeleton) -> onnx_ir.Model:
    """The graph of a skeleton, with its tensors attached.

    Raises:
        ModelFileError: the message parses, but is no ONNX graph (types or attributes that do not exist).
    """
    try:
        with collector_paused():
            model = onnx_ir.from_proto(skeleton.proto)
    except (onnx_ir.serde.SerdeError, ValueError, TypeError, KeyError, AttributeError) as error:
        cause = error.__cause__ or error
        raise ModelFileError(
            f"The file is no sound ONNX model: {_shortened(cause)}", place=skeleton.place, remedy="Export it again."
        ) from error
    attach(model, skeleton.tensors)
    return model


def attach(model: onnx_ir.Model, tensors: Sequence[onnx_ir.TensorProtocol]) -> None:
    """Put the tensors in the place of their marks, in initializers and attributes of all graphs and functions."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        for part in (graph, *graph.subgraphs()):
            for value in part.initializers.values():
                if (mark := _mark_of(value.const_value)) is not None:
                    value.const_value = tensors[mark]
        for node in graph.all_nodes():
            if node.attributes:
                _attach_attributes(node.attributes, tensors)
    for function in model.functions.values():
        _attach_attributes(function.attributes, tensors)


def _carve(region: Region) -> Carving:
    head = region.read(0, min(64, region.size))
    if not head:
        raise ModelFileError("There are no bytes.", place=region.place, remedy="Export or copy the model again.")
    foreign = foreign_format(head)
    if foreign is not None:
        raise ModelFileError(f"This is {foreign[0]}, not an ONNX model.", place=region.place, remedy=foreign[1])
    try:
        return carve(region)
    except ModelFileError as error:
        raise ModelFileError(error.message, place=region.place, remedy=error.remedy) from error


def _parse(carving: Carving, region: Region) -> onnx.ModelProto:
    if sum(map(len, carving.pieces)) > PROTOBUF_LIMIT:
        raise ModelFileError(
            "The model takes over 2 GB even without its weights.",
            place=region.place,
            remedy="Store its tensors as raw data or as external data.",
        )
    serialized = b"".join(carving.pieces)
    carving.pieces.clear()
    try:
        proto = onnx.ModelProto.FromString(serialized)
    except DecodeError as error:
        raise ModelFileError(
            "Not a sound ONNX file: protobuf cannot decode it.", place=region.place, remedy="Export or copy it again."
        ) from error
    if not is_text(serialized):
        raise ModelFileError(
            "The model has a name that is no text.", place=region.place, remedy="The file is damaged; export or copy it again."
        )
    if not proto.HasField("graph") or (proto.ir_version < 1 and not proto.opset_import):
        raise ModelFileError("This is not an ONNX model: it has no graph.", place=region.place, remedy="Name a .onnx file.")
    return proto


class _Shelf:
    """Makes a mapped tensor of everything that lies outside the skeleton."""

    def __init__(self, region: Region, carving: Carving, folder: Path | None, model: Path | None) -> None:
        self._region = region
        self._cuts = carving.cuts
        self._folder = folder
        self._model = model
        self._files: dict[str, FileRegion] = {}
        self._taken: set[int] = set()
        self._tensors: dict[int, MappedTensor] = {}

    def fill(self, proto: onnx.ModelProto) -> list[MappedTensor]:
        for owner, tensor in tensors_of(proto):
            outside = tensor.data_location == onnx.TensorProto.EXTERNAL
            if fault := (shape_fault(tensor) if outside else payload_fault(tensor)):
                raise ModelFileError(f"A tensor {fault}.", place=owner, remedy="The file is damaged; export or copy it again.")
            if outside:
                self._shelve(owner, tensor)
        return [self._tensors[mark] for mark in range(len(self._tensors))]

    def _shelve(self, owner: str, tensor: onnx.TensorProto) -> None:
        if tensor.data_type == onnx.TensorProto.STRING:
            raise ModelFileError("A tensor of strings has external data, which ONNX does not allow.", place=owner)
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        region, offset = self._cut(owner, tensor, location) if location.startswith(MARK) else self._external(tensor, location)
        mark = len(self._tensors)
        self._tensors[mark] = MappedTensor(
            region,
            offset,
            onnx_ir.DataType(tensor.data_type),
            tuple(tensor.dims),
            name=tensor.name,
            doc_string=tensor.doc_string or None,
            metadata_props={entry.key: entry.value for entry in tensor.metadata_props},
        )
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=f"{MARK}{mark}")

    def _cut(self, owner: str, tensor: onnx.TensorProto, location: str) -> tuple[Region, int]:
        digits = location.removeprefix(MARK)
        index = int(digits) if digits.isdigit() and len(digits) < 10 else -1
        if not 0 <= index < len(self._cuts) or index in self._taken:
            raise ModelFileError("A tensor's external data has no usable location.", place=owner, remedy="Export the model again.")
        self._taken.add(index)
        cut = self._cuts[index]
        wanted = nbytes_of(tensor)
        if wanted != cut.length:
            raise ModelFileError(
                f"A tensor of shape {list(tensor.dims)} calls for {wanted} bytes and holds {cut.length}.",
                place=owner,
                remedy="Export it again.",
            )
        return self._region, cut.offset

    def _external(self, tensor: onnx.TensorProto, location: str) -> tuple[Region, int]:
        if self._folder is None:
            raise ModelFileError(
                "The model keeps weights in another file, and bytes have no folder.", place=tensor.name, remedy="Load it from its path."
            )
        path = locate(location, self._folder, self._model)
        wanted = nbytes_of(tensor)
        if wanted == 0:
            return MemoryRegion(b""), 0
        if location not in self._files:
            self._files[location] = FileRegion(path)
        region = self._files[location]
        return region, span(tensor, wanted, region.size)


def _mark_of(tensor: onnx_ir.TensorProtocol | None) -> int | None:
    if not isinstance(tensor, onnx_ir.ExternalTensor):
        return None
    location = cast("str", tensor.location)
    return int(location.removeprefix(MARK)) if location.startswith(MARK) else None


def _attach_attributes(attributes: MutableMapping[str, onnx_ir.Attr], tensors: Sequence[onnx_ir.TensorProtocol]) -> None:
    for name, attr in list(attributes.items()):
        if attr.is_ref() or attr.value is None:
            continue
        if attr.type == onnx_ir.AttributeType.TENSOR and (mark := _mark_of(attr.as_tensor())) is not None:
            attributes[name] = onnx_ir.AttrTensor(name, tensors[mark])
        elif attr.type == onnx_ir.AttributeType.TENSORS:
            found: list[onnx_ir.TensorProtocol] = [
                tensor if (mark := _mark_of(tensor)) is None else tensors[mark] for tensor in attr.as_tensors()
            ]
            attributes[name] = onnx_ir.AttrTensors(name, found)


def _shortened(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return text if len(text) <= 200 else f"{text[:200]}…"
