"""The text dump of a program: one line a node, stable, for golden tests, diffs, `--print-after` and error messages.

    program "encoder" opset 20
    in    %x: f32[N, 197, 384]
    param %blocks.0.q.weight: f32[384, 384]  #9c1f04aa
    %h: f32[N, 197, 384] = MatMul(%x, %blocks.0.q.weight)  @ model.py:41 blocks.0.q  by 1:factorize#3
    out   %h

Weights stand as digests, small ones as their elements. Subgraphs are indented below the node that holds them, functions
follow the main graph.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar, cast

import numpy as np
import onnx_ir
from onnx_ir import AttributeType

from netwright.ir.digest import digest
from netwright.ir.opinfo import subgraphs
from netwright.ir.origin import BY, MODULE, SOURCE
from netwright.ir.program import Program

T = TypeVar("T")
_Signature: TypeAlias = tuple[int, tuple[int | onnx_ir.SymbolicDim, ...]]

SHOWN_ELEMENTS = 8
"""Tensors of at most so many elements, and of rank 0 or 1, are written out."""

_INDENT = "  "


def dump(program: Program, *, origins: bool = True, actions: bool = True, weights: bool = True) -> str:
    """The program as text.

    Args:
        program: the program.
        origins: with the column `@ file:line module`.
        actions: with the column `by action,action`, and where parameters come from.
        weights: with the weights' digests.
    """
    printer = _Printer(origins=origins, actions=actions, weights=weights)
    lineage = _lineage(program) if actions else {}
    lines = [f"program {json.dumps(program.name)} opset {_opsets(program.model.opset_imports)}"]
    lines += printer.graph(program.graph, "", lineage)
    for function in program.model.functions.values():
        lines.append("")
        lines += printer.function(function)
    return "\n".join(lines) + "\n"


def dump_node(node: onnx_ir.Node) -> str:
    """One node as a line of text, without the graphs that it holds."""
    return _Printer(origins=False, actions=False, weights=False).line(node)


def excerpt(node: onnx_ir.Node, *, around: int = 2) -> str:
    """A node in place: its line, marked, with the lines before and after it. Linear in the graph."""
    graph = node.graph
    nodes = list(graph) if graph is not None else [node]
    at = next((index for index, other in enumerate(nodes) if other is node), 0)
    printer = _Printer(origins=True, actions=True, weights=False)
    shown = range(max(at - around, 0), min(at + around + 1, len(nodes)))
    return "\n".join(f"{'>' if index == at else ' '} {printer.line(nodes[index])}" for index in shown)


def type_of(value: onnx_ir.Value) -> str:
    """A value's type and shape, such as `f32[N, 197]`; `?` where the type is unknown."""
    return _type_text(value.type) + _shape_text(value.shape)


def _opsets(imports: Mapping[str, int]) -> str:
    others = sorted((domain, version) for domain, version in imports.items() if domain)
    return " ".join([str(imports.get("", 0)), *(f"{domain} {version}" for domain, version in others)])


def _lineage(program: Program) -> dict[str, str]:
    """How values come from earlier ones, by the last action that made them."""
    return {name: mapped.describe() for action in program.ledger.actions for name, mapped in action.maps.items()}


@dataclass(slots=True)
class _Printer:
    """Text of graphs, with what is the same in many lines kept."""

    origins: bool
    actions: bool
    weights: bool
    shapes: dict[_Signature, str] = field(default_factory=dict[_Signature, str])
    names: dict[str, str] = field(default_factory=dict[str, str])
    columns: dict[tuple[str, str, str], str] = field(default_factory=dict[tuple[str, str, str], str])

    def graph(self, graph: onnx_ir.Graph, indent: str, lineage: Mapping[str, str] = {}) -> Iterator[str]:
        for value in graph.inputs:
            yield f"{indent}in    {self.declared(value)}"
        for value in graph.initializers.values():
            yield f"{indent}param {self.declared(value)}{self.weight(value, lineage)}"
        for node in graph:
            yield indent + self.line(node)
            if node.attributes:
                yield from self.inner(node, indent + _INDENT)
        for value in graph.outputs:
            yield f"{indent}out   {_reference(value.name)}"

    def inner(self, node: onnx_ir.Node, indent: str) -> Iterator[str]:
        for name, graph in subgraphs(node):
            yield f"{indent}{name}:"
            yield from self.graph(graph, indent + _INDENT)

    def function(self, function: onnx_ir.Function) -> Iterator[str]:
        overload = f":{function.overload}" if function.overload else ""
        inputs = [_reference(value.name) for value in function.inputs]
        formals = [f"{attr.name}={_attribute(attr)}" if attr.value is not None else attr.name for attr in function.attributes.values()]
        signature = f"{function.domain}::{function.name}{overload}({', '.join([*inputs, *formals])})"
        yield f"function {signature} opset {_opsets(function.opset_imports)}"
        for node in function:
            yield _INDENT + self.line(node)
            if node.attributes:
                yield from self.inner(node, _INDENT * 2)
        for value in function.outputs:
            yield f"{_INDENT}out   {_reference(value.name)}"

    def line(self, node: onnx_ir.Node) -> str:
        values = node.outputs
        outputs = self.declared(values[0]) if len(values) == 1 else ", ".join([self.declared(value) for value in values])
        inputs = [self.reference(value.name) if value is not None else "_" for value in node.inputs]
        while inputs and inputs[-1] == "_":
            inputs.pop()
        if node.attributes:
            inputs += _attributes(node)
        operator = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        if node.overload:
            operator = f"{operator}:{node.overload}"
        return f"{outputs} = {operator}({', '.join(inputs)}){self.provenance(node.metadata_props)}"

    def declared(self, value: onnx_ir.Value) -> str:
        name = value.name
        if not name:
            return "_"
        shape, kind = value.shape, value.type
        if shape is None or type(kind) is not onnx_ir.TensorType:
            return f"{self.reference(name)}: {type_of(value)}"
        key = (kind.dtype.value, shape.dims)
        text = self.shapes.get(key)
        if text is None:
            text = self.shapes[key] = type_of(value)
        return f"{self.reference(name)}: {text}"

    def reference(self, name: str | None) -> str:
        if not name:
            return "_"
        text = self.names.get(name)
        if text is None:
            text = self.names[name] = _reference(name)
        return text

    def provenance(self, props: Mapping[str, str]) -> str:
        if not props:
            return ""
        source, module = (props.get(SOURCE, ""), props.get(MODULE, "")) if self.origins else ("", "")
        by = props.get(BY, "") if self.actions else ""
        if not (source or module or by):
            return ""
        key = (source, module, by)
        text = self.columns.get(key)
        if text is None:
            text = f"  @ {' '.join(filter(None, (_base_name(source), module)))}" if source or module else ""
            text = self.columns[key] = f"{text}  by {by}" if by else text
        return text

    def weight(self, value: onnx_ir.Value, lineage: Mapping[str, str]) -> str:
        came = lineage.get(value.name or "")
        text = f"  from {came}" if came else ""
        tensor = value.const_value
        if tensor is None or not self.weights:
            return text
        return f"{text}  {_tensor(tensor)}"


# ---- parts of a line ------------------------------------------------------------------------------------------------


_PLAIN_NAME = re.compile(r"[\w./:~$@+<>#;\[\]-]+")


def _reference(name: str | None) -> str:
    """A value's name with its sign; in quotes where it holds spaces, commas or the like."""
    if not name:
        return "_"
    return f"%{name}" if _PLAIN_NAME.fullmatch(name) else f"%{json.dumps(name)}"


def _type_text(type_: onnx_ir.TypeProtocol | None) -> str:
    if type_ is None:
        return "?"
    if isinstance(type_, onnx_ir.SequenceType):
        return f"seq({_type_text(type_.elem_type)})"
    if isinstance(type_, onnx_ir.OptionalType):
        return f"optional({_type_text(type_.elem_type)})"
    text = _short(type_.dtype)
    return f"sparse({text})" if isinstance(type_, onnx_ir.SparseTensorType) else text


def _short(dtype: onnx_ir.DataType) -> str:
    if dtype == onnx_ir.DataType.UNDEFINED:
        return "?"
    return "str" if dtype == onnx_ir.DataType.STRING else dtype.short_name()


def _shape_text(shape: onnx_ir.Shape | None) -> str:
    if shape is None:
        return ""
    return f"[{', '.join([str(dim) if isinstance(dim, int) else dim.value or '?' for dim in shape.dims])}]"


def _base_name(source: str) -> str:
    return source.replace("\\", "/").rpartition("/")[2]


def _attributes(node: onnx_ir.Node) -> Iterable[str]:
    attributes = node.attributes.data
    for name in sorted(attributes) if len(attributes) > 1 else attributes:
        attribute = attributes[name]
        if attribute.type not in (AttributeType.GRAPH, AttributeType.GRAPHS) or attribute.is_ref():
            yield f"{name}={_attribute(attribute)}"


def _attribute(attribute: onnx_ir.Attr) -> str:
    """An attribute's value as text; one that refers to the function's is written `@name`."""
    if attribute.is_ref():
        return f"@{attribute.ref_attr_name}"
    writer = _WRITERS.get(attribute.type)
    return writer(attribute.value) if writer else f"<{attribute.type.name.lower()}>"


def _typed_tensor(tensor: onnx_ir.TensorProtocol) -> str:
    return f"{_short(tensor.dtype)}[{', '.join(map(str, tensor.shape.dims))}]{_tensor(tensor)}"


def _tensor(tensor: onnx_ir.TensorProtocol) -> str:
    """The elements of a small tensor, in braces; the digest of a large one."""
    if tensor.size > SHOWN_ELEMENTS or len(tensor.shape) > 1:
        return f"#{digest(tensor)}"
    return f"{{{', '.join(_number(element) for element in np.asarray(tensor.numpy()).reshape(-1))}}}"


def _number(element: object) -> str:
    """A number in its shortest exact form."""
    if isinstance(element, bytes):
        return json.dumps(element.decode(errors="replace"))
    if isinstance(element, str):
        return json.dumps(element)
    if isinstance(element, np.bool_):
        return "true" if element else "false"
    if isinstance(element, np.floating):
        return _float(cast("np.float32", element))
    return str(element)


def _float(element: np.float32 | np.float64 | np.float16) -> str:
    """The shortest text that reads back as the same number: 0.5, 1e-05, inf."""
    size = abs(float(element))
    if size == 0 or 1e-4 <= size < 1e16:
        return np.format_float_positional(element, trim="-")
    return np.format_float_scientific(element, trim="-") if np.isfinite(size) else str(float(element))


def _int(value: int) -> str:
    return str(int(value))


def _float32(value: float) -> str:
    return _float(np.float32(value))


def _text(value: str) -> str:
    return json.dumps(value)


def _each(writer: Callable[[T], str]) -> Callable[[Iterable[T]], str]:
    return lambda values: f"[{', '.join(map(writer, values))}]"


_WRITERS: Mapping[AttributeType, Callable[..., str]] = {
    AttributeType.INT: _int,
    AttributeType.INTS: _each(_int),
    AttributeType.FLOAT: _float32,
    AttributeType.FLOATS: _each(_float32),
    AttributeType.STRING: _text,
    AttributeType.STRINGS: _each(_text),
    AttributeType.TENSOR: _typed_tensor,
    AttributeType.TENSORS: _each(_typed_tensor),
}
