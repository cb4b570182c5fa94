"""A node's attributes as an entry takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import onnx_ir

from netwright.backends.torch.table import OpEntry
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.opinfo import default_of, site

_TYPES = frozenset({onnx_ir.AttributeType.TYPE_PROTO, onnx_ir.AttributeType.TYPE_PROTOS})
Plain = bool | int | float | str | tuple[object, ...] | None


def plain(attribute: onnx_ir.Attr) -> Plain:
    """An attribute's value in Python's types, lists as tuples."""
    value: object = attribute.value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(cast("Sequence[object]", value))
    return cast("Plain", value)


def require_default(node: onnx_ir.Node, attribute: onnx_ir.Attr, opset: int) -> None:
    """Refuse an attribute that an entry does not take, unless it says nothing.

    Raises:
        UnsupportedModelError: its value is not the default.
    """
    if attribute.type in _TYPES:
        return
    value, default = plain(attribute), default_of(node, attribute.name, opset)
    listed = tuple(cast("Sequence[object]", default)) if isinstance(default, Sequence) and not isinstance(default, str) else default
    if value == listed or value in ((), ""):
        return
    raise UnsupportedModelError(
        f"The torch backend's {node.op_type} does not take the attribute {attribute.name}={value!r}.",
        place=site(node),
        remedy=f'Register an entry that does: @torch_op("{node.op_type}").',
    )


def is_taken(entry: OpEntry, attribute: onnx_ir.Attr) -> bool:
    """True for an attribute that an entry declares; one that holds a type says nothing that tensors do not."""
    return attribute.name in entry.attributes and attribute.type not in _TYPES
