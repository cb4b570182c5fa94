"""Finds a model's external data, inside the model's own folder only."""

from __future__ import annotations

import os
from pathlib import Path

import onnx

from netwright.ir.errors import ModelFileError

_REMEDY = "External data must lie in the model's folder; save the model again with onnx or torch, or as one file."


def locate(location: str, folder: Path, model: Path | None = None) -> Path:
    """The data file that `location` names, once it is certain to lie in the model's folder.

    A symbolic link is followed if its target is in that folder, or beside the file that the model's own link points to (as in the
    Hugging Face cache).

    Args:
        location: as the model has it, a relative path.
        folder: the model's folder.
        model: the model's file, where there is one.

    Raises:
        ModelFileError: the location is empty, absolute or leads outside, directly or through a link, or there is no such file.
    """
    if not location or "\0" in location:
        raise ModelFileError("A tensor's external data has no usable location.", remedy=_REMEDY)
    if os.path.isabs(location) or "\\" in location or location[1:2] == ":":
        raise ModelFileError("A tensor's external data has an absolute location.", place=location, remedy=_REMEDY)
    path = Path(os.path.normpath(folder.absolute() / location))
    if not path.is_relative_to(os.path.normpath(folder.absolute())):
        raise ModelFileError("A tensor's external data lies outside the model's folder.", place=location, remedy=_REMEDY)
    homes = [folder.resolve()] if model is None else [folder.resolve(), model.resolve().parent]
    if not any(path.resolve().is_relative_to(home) for home in homes):
        raise ModelFileError("A tensor's external data is a link that leads outside the model's folder.", place=location, remedy=_REMEDY)
    if not path.exists():
        raise ModelFileError("The model's external data is missing.", place=str(path), remedy="Copy that file to where the model is.")
    return path


def span(tensor: onnx.TensorProto, nbytes: int, size: int) -> int:
    """The offset of a tensor's bytes in its data file.

    Args:
        tensor: with external data.
        nbytes: what its dimensions call for.
        size: the data file's size.

    Raises:
        ModelFileError: offset or length are no numbers, disagree with the dimensions, or reach past the end.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    offset = _number(tensor, "offset", entries.get("offset", "0"))
    length = _number(tensor, "length", entries.get("length", str(nbytes)))
    if length != nbytes:
        raise ModelFileError(
            f"The tensor's shape {list(tensor.dims)} calls for {nbytes} bytes, its external data has {length}.", place=tensor.name
        )
    if offset + length > size:
        raise ModelFileError(
            f"The tensor's external data ends at byte {offset + length} of a file of {size}.",
            place=tensor.name,
            remedy="The data file is truncated or belongs to another model; copy it again.",
        )
    return offset


def _number(tensor: onnx.TensorProto, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelFileError(f"The tensor's external {key} is {text[:40]!r}, not a number of bytes.", place=tensor.name)
    return int(text)
