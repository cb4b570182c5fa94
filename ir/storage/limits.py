"""Sizes that decide how a model lies in files, and what a model file may claim."""

from __future__ import annotations

PROTOBUF_LIMIT = 2**31 - 1
"""Most bytes in one protobuf message that the protobuf library, and so ONNX Runtime, accepts."""

INLINE_LIMIT = 1024
"""Tensors of fewer bytes stay in the skeleton: values of shapes, axes and scalars, which are read at once."""

GRAPH_DEPTH = 32
"""Deepest nesting of If, Loop and Scan bodies; protobuf's own limit of 100 messages allows about as many."""

RANK_LIMIT = 64
"""Most dimensions of a tensor, which is numpy's limit."""

DENSE_LIMIT = 16 * 2**20
"""A sparse tensor may claim this many dense bytes however little it holds."""

DENSE_FACTOR = 256
"""Beyond `DENSE_LIMIT`, a sparse tensor may grow by this factor when it is made dense."""

COPY_CHUNK = 1 << 20
"""Bytes copied at once where the kernel cannot copy from file to file."""

PAGE_ALIGNED_FROM = 1 << 20
"""Tensors of this many bytes and more start on a page of an external data file, so that they can be mapped on their own."""

MAP_FROM = 1 << 16
"""Tensors of fewer bytes are read into memory when asked for; larger ones are views of the mapped file."""
