"""Small programs for tests of the torch backend: one node, or a text in ONNX's syntax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir
from onnx import helper

from netwright.frontends.onnx import load_onnx
from netwright.ir import Program, shapes


def one_node(
    op_type: str,
    inputs: Sequence[np.ndarray | None],
    attributes: Mapping[str, object] | None = None,
    *,
    outputs: int = 1,
    domain: str = "",
    opset: int = 24,
    constant: Sequence[int] = (),
) -> Program:
    """A program of one node with the inputs `x0, x1, …`, those at some places initializers, and the outputs `y0, y1, …`."""
    names = ["" if array is None else f"x{index}" for index, array in enumerate(inputs)]
    node = helper.make_node(op_type, names, [f"y{index}" for index in range(outputs)], name="node", domain=domain)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in (attributes or {}).items())
    given = {name: array for name, array in zip(names, inputs, strict=True) if array is not None}
    held = {f"x{index}" for index in constant}
    graph = helper.make_graph(
        [node],
        "one_node",
        [helper.make_tensor_value_info(name, _code(array), array.shape) for name, array in given.items() if name not in held],
        [onnx.ValueInfoProto(name=name) for name in node.output],
        [onnx_ir.serde.serialize_tensor(onnx_ir.tensor(array, name=name)) for name, array in given.items() if name in held],
    )
    imports = [helper.make_opsetid("", 24 if domain else opset), *([helper.make_opsetid(domain, opset)] if domain else [])]
    program = Program(onnx_ir.from_proto(helper.make_model(graph, opset_imports=imports, ir_version=12)))
    shapes.infer(program)
    return program


def from_text(text: str, opset: int = 21) -> Program:
    """A program from the text of a graph, such as `name (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }`."""
    return load_onnx(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}, "local" : 1]> {text}'))


def _code(array: np.ndarray) -> int:
    return onnx_ir.DataType.from_numpy(array.dtype).value
