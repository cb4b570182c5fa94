"""Quantizing activations as they come, once for all products that read the same one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx_ir

from netwright.passes.quantize.choice import Outliers, channel_factors

if TYPE_CHECKING:
    from netwright.ir.editor import Editor
    from netwright.ir.program import Program
    from netwright.passes.quantize.sites import Site

_Key = tuple[onnx_ir.Value, onnx_ir.Graph, Outliers, bool]


@dataclass(slots=True)
class Activations:
    """The activations quantized so far in one run of the pass.

    Attributes:
        order: position of each node of the program as it was at the start.
    """

    order: dict[onnx_ir.Node, int]
    _made: dict[_Key, tuple[onnx_ir.Value, onnx_ir.Value, onnx_ir.Value]] = field(
        default_factory=dict[_Key, tuple[onnx_ir.Value, onnx_ir.Value, onnx_ir.Value]]
    )

    @classmethod
    def of(cls, program: Program) -> Activations:
        """For a program about to be quantized; linear in nodes."""
        return cls({node: position for position, node in enumerate(program.nodes())})

    def quantized(self, editor: Editor, site: Site, outliers: Outliers) -> tuple[onnx_ir.Value, onnx_ir.Value, onnx_ir.Value]:
        """The product's left operand as uint8, its scale and its zero point (`DynamicQuantizeLinear`), made before its first reader.

        Leaves the editor's insertion point at the site.
        """
        value, graph = site.node.inputs[0], site.node.graph
        assert value is not None
        assert isinstance(graph, onnx_ir.Graph)
        turned = site.node.op_type == "Gemm" and site.node.attributes.get_int("transA", 0) == 1
        key = (value, graph, outliers, turned)
        made = self._made.get(key)
        if made is None or made[0].graph is None:
            editor.at(self._first_reader(value, site.node))
            made = self._made[key] = _make(editor, value, site.rows, outliers, turned)
        editor.at(site.node)
        return made

    def _first_reader(self, value: onnx_ir.Value, site: onnx_ir.Node) -> onnx_ir.Node:
        readers = [user for user, _ in value.uses() if user.graph is site.graph and user in self.order]
        return min(readers, key=self.order.__getitem__)


def _make(
    editor: Editor, value: onnx_ir.Value, channels: int, outliers: Outliers, turned: bool
) -> tuple[onnx_ir.Value, onnx_ir.Value, onnx_ir.Value]:
    name = value.name or "x"
    source = value
    if value.dtype not in (None, onnx_ir.DataType.FLOAT):
        source = editor.op("Cast", [source], {"to": int(onnx_ir.DataType.FLOAT)}, name=f"{name}.float")
    if turned:
        source = editor.op("Transpose", [source], {"perm": [1, 0]}, name=f"{name}.turned")
    if outliers:
        shrink = 1 / channel_factors(outliers, channels)
        source = editor.op("Mul", [source, editor.constant(shrink, f"{name}.shrink")], name=f"{name}.shrunk", like=source)
    integers, scale, zero = editor.ops("DynamicQuantizeLinear", [source], names=(f"{name}.int8", f"{name}.scale", f"{name}.zero"))
    return integers, scale, zero
