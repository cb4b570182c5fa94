"""Where a node came from: module path, class and source line, and the actions that made it.

Provenance rides on `node.metadata_props` under netwright's own keys, so that `.onnx` files keep it. The torch
exporter writes the same facts under its own keys; `adopt` translates them once, on load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir

MODULE = "netwright.module"
"""Metadata key: dotted module path, such as `encoder.layers.0.fc1`."""
CLASS = "netwright.class"
"""Metadata key: the module's class."""
SOURCE = "netwright.source"
"""Metadata key: `file:line` of the user's code."""
BY = "netwright.by"
"""Metadata key: comma-separated numbers of the actions that made the node, such as `0:simplify#3`."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A node's provenance; each field is empty where unknown."""

    module: str = ""
    cls: str = ""
    source: str = ""
    by: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """True when anything at all is known."""
        return bool(self.module or self.cls or self.source or self.by)


def origin_of(node: onnx_ir.Node) -> Origin:
    """Read a node's provenance from its metadata."""
    props = node.metadata_props
    by = props.get(BY, "")
    return Origin(props.get(MODULE, ""), props.get(CLASS, ""), props.get(SOURCE, ""), tuple(by.split(",")) if by else ())


def inherit(node: onnx_ir.Node, ancestor: onnx_ir.Node, by: str) -> None:
    """Give a new node the provenance of the node it stands for, plus the action that made it."""
    props = node.metadata_props
    for key in (MODULE, CLASS, SOURCE):
        if key in ancestor.metadata_props:
            props.setdefault(key, ancestor.metadata_props[key])
    made = ancestor.metadata_props.get(BY)
    if by:
        props[BY] = f"{made},{by}" if made else by
