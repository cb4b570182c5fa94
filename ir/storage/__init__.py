"""How a graph lies in files: weights are mapped in place on reading, and copied file to file on writing."""

from netwright.ir.storage.mapped import MappedTensor
from netwright.ir.storage.reader import Skeleton, attach, read_model, read_skeleton
from netwright.ir.storage.writer import saved_bytes, serialize_model, write_model

__all__ = ["MappedTensor", "Skeleton", "attach", "read_model", "read_skeleton", "saved_bytes", "serialize_model", "write_model"]
