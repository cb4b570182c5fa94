"""Shapes that are computed at run time although they are known, or stand in an input's shape already."""

from __future__ import annotations

import numpy as np
import onnx_ir
from onnx_ir import DataType

from netwright.ir.dims import Dim, dims_equal, is_known, shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import ELEMENTWISE_BINARY, ELEMENTWISE_VARIADIC
from netwright.ir.program import Program
from netwright.ir.shape_context import contents
from netwright.ir.shapes import same_shape, static_shape
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import rule
from netwright.passes.simplify.facts import covers, is_scalar, known_data, producer, sole_use
from netwright.passes.simplify.slices import program_opset

_ARITHMETIC = frozenset(
    {"Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Where", "Cast", "ReduceProd", "ReduceSum", "Neg", "Abs", "Floor", "Ceil", "Sum"}
)
"""Operators on single numbers that are worth replacing by a look at a shape and a Squeeze."""

_VECTOR = frozenset(
    {"Slice", "Gather", "Concat", "Unsqueeze", "Reshape", "Squeeze", "Expand", "Split", "Flatten", "ScatterElements", "ScatterND", "Tile"}
)


@rule()
def known_contents(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Integers that follow from static dimensions are constants, whatever computes them."""
    out = node.outputs[0] if len(node.outputs) == 1 else None
    data = known_data(out) if out is not None else ()
    if out is None or not data or node.op_type == "Constant" or out.is_graph_output() or out.dtype is None:
        return None
    if any(not isinstance(element, int) for element in data):
        return None
    shape = static_shape(out)
    if shape is None or int(np.prod(shape)) != len(data):
        return None
    elements = np.array(data, dtype=out.dtype.numpy()).reshape(shape)

    def make(editor: Editor) -> onnx_ir.Value:
        return editor.constant(elements, out.name or "shape")

    return Rewrite.build(node, make, why=f"known to be {elements.tolist()}")


@rule("Shape", "Size")
def static_dimensions(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """The shape, or the number of elements, of a value of static shape."""
    dims = static_shape(node.inputs[0])
    if dims is None or node.outputs[0].is_graph_output() or known_data(node.outputs[0]):
        return None
    if node.op_type == "Size":
        data = np.array(np.prod(dims, dtype=np.int64))
    else:
        start, end = (node.attributes[name].as_int() if name in node.attributes else None for name in ("start", "end"))
        data = np.array(dims[start:end], np.int64)
    out = node.outputs[0]
    return Rewrite.build(node, lambda editor: editor.constant(data, out.name or "shape"), why=f"known to be {data.tolist()}")


@rule(*sorted(_VECTOR | _ARITHMETIC))
def from_input_shape(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Numbers that stand side by side in the shape of a graph input are read there."""
    out = node.outputs[0]
    data = known_data(out)
    if not data or out.dtype != DataType.INT64 or len(node.outputs) > 1 or program_opset(node) < 15:
        return None
    rank = len(shape_of(out) or ()) if out.shape is not None else 2
    if rank > 1 or (rank == 0 and node.op_type not in _ARITHMETIC) or all(isinstance(element, int) for element in data):
        return None
    found = place_of(program, data)
    if found is None or (rank == 1 and producer(node.inputs[0], "Shape") is not None and node.op_type == "Squeeze"):
        return None
    source, start = found

    def make(editor: Editor) -> onnx_ir.Value:
        if rank == 1:
            return shape_part(editor, source, start, len(data), out)
        return editor.op("Squeeze", [shape_part(editor, source, start, 1)], like=out)

    return Rewrite.build(node, make, why=f"read from the shape of %{source.name}")


def shape_part(editor: Editor, source: onnx_ir.Value, start: int, count: int, like: onnx_ir.Value | None = None) -> onnx_ir.Value:
    """Insert a Shape node that gives `count` dimensions of a value from `start` on."""
    return editor.op("Shape", [source], {"start": start, "end": start + count}, like=like, name=f"{source.name}.dims")


def place_of(program: Program, dims: tuple[Dim, ...]) -> tuple[onnx_ir.Value, int] | None:
    """The graph input in whose shape these dimensions stand side by side, and where."""
    if not all(is_known(dim) for dim in dims):
        return None
    for value in program.graph.inputs:
        own = shape_of(value)
        if own is None or value.const_value is not None:
            continue
        for start in range(len(own) - len(dims) + 1):
            if all(dims_equal(a, b) for a, b in zip(own[start : start + len(dims)], dims, strict=True)):
                return value, start
    return None


def build_shape(program: Program, dims: tuple[Dim, ...]) -> tuple[tuple[onnx_ir.Value, int] | int, ...] | None:
    """A recipe for a shape vector out of constants and dimensions of graph inputs, else None."""
    parts: list[tuple[onnx_ir.Value, int] | int] = []
    for dim in dims:
        if isinstance(dim, int):
            parts.append(dim)
            continue
        found = place_of(program, (dim,))
        if found is None:
            return None
        parts.append(found)
    return tuple(parts)


def insert_shape(editor: Editor, parts: tuple[tuple[onnx_ir.Value, int] | int, ...]) -> onnx_ir.Value:
    """Insert what `build_shape` found: one vector of integers."""
    values: list[onnx_ir.Value] = []
    run: list[int] = []
    for part in (*parts, None):
        if isinstance(part, int):
            run.append(part)
            continue
        if run:
            values.append(editor.constant(np.array(run, np.int64), "dims"))
            run = []
        if part is not None:
            values.append(shape_part(editor, part[0], part[1], 1))
    return values[0] if len(values) == 1 else editor.op("Concat", values, {"axis": 0})


# ---- Expand -----------------------------------------------------------------------------------------------------------

_BROADCASTING = tuple(sorted((ELEMENTWISE_BINARY | ELEMENTWISE_VARIADIC) - {"PRelu"}))


@rule(*_BROADCASTING)
def drop_expand_operand(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """An operand expanded to what the operator's own broadcasting makes of it."""
    dims = shape_of(node.outputs[0])
    if dims is None:
        return None
    for index, value in enumerate(node.inputs):
        expand = producer(value, "Expand")
        if expand is None or value is None:
            continue
        shapes = [shape_of(other) for place, other in enumerate(node.inputs) if place != index]
        others = [shape for shape in shapes if shape is not None]
        if len(others) < len(shapes) or not covers(dims, others):
            continue
        source = expand.inputs[0]
        return Rewrite.edit(
            node.outputs[0].name or "",
            f"operand {index} is broadcast anyway",
            lambda editor, index=index, source=source: editor.set_input(node, index, source),
            anchor=node,
        )
    return None


@rule(*_BROADCASTING, "Cast", "Not", "IsNaN", "Neg", "Abs", "Exp", "Log", "Relu", "Sigmoid", "Tanh", "Sqrt", "Reciprocal")
def sink_expand(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Expand after, not before, an operator whose other operands are scalars: less to compute, and it may fall away."""
    found = [(index, expand) for index, value in enumerate(node.inputs) if (expand := producer(value, "Expand")) is not None]
    if len(found) != 1:
        return None
    index, expand = found[0]
    if sole_use(expand.outputs[0]) is None or not same_shape(node.outputs[0], expand.outputs[0]):
        return None
    if any(place != index and not is_scalar(value) for place, value in enumerate(node.inputs)):
        return None
    inputs = [expand.inputs[0] if place == index else value for place, value in enumerate(node.inputs)]
    out, attributes, target = node.outputs[0], dict(node.attributes), expand.inputs[1]

    def make(editor: Editor) -> onnx_ir.Value:
        small = editor.op(node.op_type, inputs, attributes)
        return editor.op("Expand", [small, target], like=out)

    return Rewrite.build(node, make, why=f"expand moved behind {node.op_type}")


@rule("Expand")
def merge_expands(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """An expansion of an expansion, to a shape that says everything."""
    inner = producer(node.inputs[0], "Expand")
    target, out = node.inputs[1], node.outputs[0]
    if inner is None or target is None or sole_use(inner.outputs[0]) is None:
        return None
    known, dims = contents(target), shape_of(out)
    if known is None or dims is None or len(known) != len(dims) or not all(dims_equal(a, b) for a, b in zip(known, dims, strict=True)):
        return None
    source = inner.inputs[0]
    return Rewrite.build(node, lambda editor: editor.op("Expand", [source, target], like=out), why="expand of expand")


RULES = (known_contents, static_dimensions, from_input_shape, drop_expand_operand, sink_expand, merge_expands)
