"""Common subexpressions: of nodes that compute the same, all but the first go. Random nodes are never merged."""

from __future__ import annotations

from collections.abc import Generator, Hashable
from typing import cast

import onnx_ir

from netwright.ir.dims import is_known, shape_of
from netwright.ir.editor import Editor, can_replace
from netwright.ir.opinfo import COMMUTATIVE, NON_DETERMINISTIC, WITH_SUBGRAPHS, is_float, is_pure
from netwright.ir.program import Program
from netwright.passes.rewrite import Applied, Miss, Rewrite, site_of
from netwright.passes.simplify.facts import known_data

SMALL = 64
"""Constants of more elements than this are not compared."""

Key = tuple[Hashable, ...]


def share(program: Program) -> Generator[Rewrite | Miss, Applied | None, list[onnx_ir.Node]]:
    """Merge small equal constants, then equal nodes, graph by graph, in order. Linear in nodes.

    Returns:
        The nodes whose surroundings changed.
    """
    touched: dict[onnx_ir.Node, None] = {}
    for graph in program.graphs():
        for proposal in _equal_constants(program, graph):
            applied = yield proposal
            if applied is not None:
                touched.update(dict.fromkeys(applied.touched))
        seen: dict[Key, onnx_ir.Node] = {}
        for node in list(graph):
            if node.graph is not graph:
                continue
            key = _contents_key(node) or _key(node, program)
            if key is None:
                continue
            first = seen.setdefault(key, node)
            if first.graph is not graph:  # died when a reader of it was merged
                first = seen[key] = node
            if first is node:
                continue
            pairs = tuple(zip(node.outputs, first.outputs, strict=True))
            if not all(can_replace(old, new) for old, new in pairs):
                yield Miss(f"computes the same as %{first.outputs[0].name}, but both are graph outputs", site_of(node), "share")
                continue
            applied = yield Rewrite.edit(
                site_of(node),
                f"computed already as %{first.outputs[0].name}",
                lambda editor, pairs=pairs: _merge(editor, pairs),
                anchor=node,
                rule="share",
            )
            if applied is not None:
                touched.update(dict.fromkeys(applied.touched))
    return [node for node in touched if node.graph is not None]


def _merge(editor: Editor, pairs: tuple[tuple[onnx_ir.Value, onnx_ir.Value], ...]) -> None:
    for old, new in pairs:
        editor.replace(old, new)


# ---- nodes ------------------------------------------------------------------------------------------------------------


def _key(node: onnx_ir.Node, program: Program) -> Key | None:
    """What a node computes, as something that can be compared; None where that cannot be told or is not the same twice."""
    op_type, domain, outputs = node.op_type, node.domain, node.outputs
    if not outputs or op_type == "Constant":
        return None
    if (domain or op_type in _LOOK_CLOSER) and not is_pure(node, program.model.functions):
        return None
    attributes = _attributes(node)
    if attributes is None:
        return None
    inputs = [id(value) if value is not None else 0 for value in node.inputs]
    if len(inputs) == 2 and op_type in COMMUTATIVE and not domain:
        inputs.sort()
    if len(outputs) == 1:
        return (op_type, domain, attributes, *inputs)
    return (op_type, domain, attributes, tuple(bool(output.name) for output in outputs), *inputs)


_LOOK_CLOSER = NON_DETERMINISTIC | WITH_SUBGRAPHS.keys() | {"Dropout"}
"""Standard operators of which not every node gives the same twice."""


def _attributes(node: onnx_ir.Node) -> Hashable | None:
    if not node.attributes:
        return ()
    found: list[Hashable] = []
    for name in sorted(node.attributes):
        attribute = node.attributes[name]
        if attribute.is_ref():
            found.append((name, "ref", attribute.ref_attr_name))
        elif attribute.type == onnx_ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            if tensor.size > SMALL or tensor.dtype == onnx_ir.DataType.STRING:
                return None
            found.append((name, tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes()))
        elif attribute.type in _COMPARABLE:
            value = cast("int | float | str | list[int] | list[float] | list[str]", attribute.value)
            found.append((name, attribute.type, value if isinstance(value, (int, float, str)) else tuple(value)))
        else:
            return None
    return tuple(found)


_COMPARABLE = frozenset(
    {
        onnx_ir.AttributeType.INT,
        onnx_ir.AttributeType.FLOAT,
        onnx_ir.AttributeType.STRING,
        onnx_ir.AttributeType.INTS,
        onnx_ir.AttributeType.FLOATS,
        onnx_ir.AttributeType.STRINGS,
    }
)


def _contents_key(node: onnx_ir.Node) -> Key | None:
    """Integers that are known symbolically are the same wherever they come from."""
    out = node.outputs[0] if node.outputs else None
    if out is None or not out.meta or node.domain:
        return None
    data, dims = known_data(out), shape_of(out)
    if not data or dims is None or len(node.outputs) != 1 or not all(is_known(element) for element in data):
        return None
    return ("contents", out.dtype, len(dims), *(element if isinstance(element, int) else element.value for element in data))


# ---- constants --------------------------------------------------------------------------------------------------------


def _equal_constants(program: Program, graph: onnx_ir.Graph) -> list[Rewrite]:
    """One rewrite for each set of equal small constants: integers and booleans, and single numbers."""
    groups: dict[Key, list[onnx_ir.Value]] = {}
    trainable = "Trainable" in program.properties
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is None or value.is_graph_input() or value.is_graph_output() or isinstance(tensor, onnx_ir.LazyTensor):
            continue
        size = tensor.size
        if size > SMALL or tensor.dtype == onnx_ir.DataType.STRING or (is_float(tensor.dtype) and (size != 1 or trainable)):
            continue
        groups.setdefault((tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes()), []).append(value)
    return [_share_constant(values) for values in groups.values() if len(values) > 1]


def _share_constant(values: list[onnx_ir.Value]) -> Rewrite:
    kept, *others = values

    def change(editor: Editor) -> None:
        for other in others:
            editor.replace(other, kept)
            editor.remove_initializer(other)

    reader = next((user for value in values for user, _ in value.uses()), None)
    return Rewrite.edit(kept.name or "", f"one constant for {len(values)} equal ones", change, anchor=reader, rule="share_constants")
