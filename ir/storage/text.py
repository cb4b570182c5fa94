"""Whether all names in a model are text.

onnx.proto is of syntax "proto2", for which the protobuf library lets strings that are no UTF-8 through and hands them out as bytes.
The same messages of syntax "proto3" are validated while they are parsed.
"""

from __future__ import annotations

from functools import cache

import onnx
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message


def is_text(serialized: bytes) -> bool:
    """Whether every string of a serialized ModelProto is UTF-8.

    Args:
        serialized: bytes that parse as a ModelProto; parsed once more, in the library.
    """
    try:
        _strict_model().FromString(serialized)
    except DecodeError:
        return False
    return True


@cache
def _strict_model() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto()
    onnx.ModelProto.DESCRIPTOR.file.CopyToProto(file)
    file.syntax = "proto3"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(onnx.ModelProto.DESCRIPTOR.full_name))
