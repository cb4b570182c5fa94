"""What must hold of a model before a graph is built from it.

The graph library accepts much that is no sound model (a value that nothing produces quietly becomes an input), so names, order,
operators and functions are checked here, on the parsed message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import defs

from netwright.ir.errors import ModelFileError, NetwrightError, UnsupportedModelError
from netwright.ir.storage.tensors import graphs_of, subgraphs_of

OLDEST_OPSET = 7
"""The oldest standard operator set that is converted: earlier ones broadcast by attributes, which ONNX Runtime does not run either."""

EXPANSION_LIMIT = 5_000_000
"""Most nodes that a model may have once its functions are expanded."""

_ALIASES = ("", "ai.onnx")
_STANDARD = frozenset({"", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training"})
_DEPTH = 32


def check(proto: onnx.ModelProto, place: str) -> None:
    """Check a model's structure. Linear in nodes, about 5 µs each.

    Args:
        proto: a model; its tensors are checked elsewhere.
        place: the file, for messages.

    Raises:
        ModelFileError: the model contradicts itself.
        UnsupportedModelError: it needs an operator or version that does not exist, or is too old.
    """
    try:
        opsets = _opsets(proto)
        _versions(proto, opsets)
        _Names(place).graph(proto.graph, frozenset(), 0)
        functions = {(function.domain, function.name): function for function in proto.functions}
        for function in proto.functions:
            _Names(place).function(function)
        _functions_end(proto)
        operators = _Operators(functions)
        operators.check(_nodes(graphs_of(proto)), opsets)
        for function in proto.functions:
            operators.check(function.node, _opsets(function))
    except UnicodeDecodeError as error:
        raise ModelFileError(
            "The model has a name that is no text.", place=place, remedy="The file is damaged; export or copy it again."
        ) from error
    except NetwrightError as error:
        if error.place is None:
            error.place = place
        raise


def _nodes(graphs: Iterable[onnx.GraphProto]) -> Iterator[onnx.NodeProto]:
    return (node for graph in graphs for node in graph.node)


def _opsets(proto: onnx.ModelProto | onnx.FunctionProto) -> dict[str, int]:
    return {"" if entry.domain in _ALIASES else entry.domain: entry.version for entry in proto.opset_import}


# ---- versions ----------------------------------------------------------------------------------------------------


def _versions(proto: onnx.ModelProto, opsets: dict[str, int]) -> None:
    if proto.ir_version > onnx.IR_VERSION:
        raise UnsupportedModelError(
            f"The file is of ONNX IR version {proto.ir_version}; the newest known is {onnx.IR_VERSION}.", remedy="Upgrade the onnx package."
        )
    if not opsets:
        raise ModelFileError("The model does not say which operator set it uses.", remedy="Export it again.")
    version = opsets.get("")
    if version is None:
        return
    if version > defs.onnx_opset_version():
        raise UnsupportedModelError(
            f"The model uses opset {version}; the newest known is {defs.onnx_opset_version()}.",
            remedy="Upgrade the onnx package, or export to an older opset.",
        )
    if version < OLDEST_OPSET:
        raise UnsupportedModelError(
            f"The model uses opset {version}; the oldest that is converted is {OLDEST_OPSET}.", remedy="Export it to opset 13 or later."
        )


# ---- names -------------------------------------------------------------------------------------------------------


class _Names:
    """Every value is defined once in its graph, and every one that is read is defined somewhere."""

    def __init__(self, place: str) -> None:
        self._place = place

    def graph(self, graph: onnx.GraphProto, outer: frozenset[str], depth: int) -> None:
        if depth > _DEPTH:
            raise ModelFileError(f"Graphs are nested more than {_DEPTH} deep.", place=self._place, remedy="The file is damaged.")
        defined = self._defined(graph)
        self._nodes(graph.node, defined, outer, depth)
        for value in graph.output:
            if value.name not in defined and value.name not in outer:
                raise ModelFileError(
                    f"The graph's output {value.name!r} is not made by any node.", place=graph.name or self._place, remedy=_AGAIN
                )

    def function(self, function: onnx.FunctionProto) -> None:
        defined: set[str] = set()
        self._define(defined, function.input, "input")
        self._define(defined, (name for node in function.node for name in node.output if name), "value")
        self._nodes(function.node, defined, frozenset(), 0)
        for name in function.output:
            if name not in defined:
                raise ModelFileError(f"The output {name!r} is not made by any node.", place=function.name, remedy=_AGAIN)

    def _defined(self, graph: onnx.GraphProto) -> set[str]:
        defined: set[str] = set()
        self._define(defined, (value.name for value in graph.input), "input")
        inputs = set(defined)
        weights: set[str] = set()
        self._define(weights, (tensor.name for tensor in graph.initializer), "initializer")
        defined |= weights
        for node in graph.node:
            for name in node.output:
                if not name:
                    continue
                if name in defined:
                    what = "an input" if name in inputs else "an initializer" if name in weights else "made by another node"
                    raise ModelFileError(
                        f"The value {name!r} is assigned twice: it is also {what}.", place=node.name or node.op_type, remedy=_AGAIN
                    )
                defined.add(name)
        return defined

    def _define(self, defined: set[str], names: Iterable[str], what: str) -> None:
        for name in names:
            if not name:
                raise ModelFileError(f"An {what} has no name.", place=self._place, remedy=_AGAIN)
            if name in defined:
                raise ModelFileError(f"There are two of the {what} {name!r}.", place=self._place, remedy=_AGAIN)
            defined.add(name)

    def _nodes(self, nodes: Iterable[onnx.NodeProto], defined: set[str], outer: frozenset[str], depth: int) -> None:
        visible: frozenset[str] | None = None
        for node in nodes:
            for name in node.input:
                if name and name not in defined and name not in outer:
                    raise ModelFileError(
                        f"{node.op_type} reads {name!r}, which is no input, no initializer and no node's output.",
                        place=node.name or (node.output[0] if node.output else node.op_type),
                        remedy="The graph was cut or edited wrongly; export it again.",
                    )
            if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
                visible = outer | defined if visible is None else visible
                for graph in subgraphs_of(node.attribute):
                    self.graph(graph, visible, depth + 1)


_AGAIN = "Export the model again."


# ---- functions ---------------------------------------------------------------------------------------------------


def _functions_end(proto: onnx.ModelProto) -> None:
    """Functions must not call themselves, nor expand beyond all bounds."""
    bodies: dict[tuple[str, str], onnx.FunctionProto] = {}
    for function in proto.functions:
        key = (function.domain, function.name)
        if key in bodies and not (function.overload or bodies[key].overload):
            raise ModelFileError(f"There are two functions {function.domain}::{function.name}.", remedy=_AGAIN)
        bodies[key] = function
    sizes: dict[tuple[str, str], int] = {}
    for key in bodies:
        _expanded(key, bodies, sizes)
    total = sum(sizes.get((node.domain, node.op_type), 1) for node in _nodes(graphs_of(proto)))
    if total > EXPANSION_LIMIT:
        raise ModelFileError(
            f"The model's functions expand to more than {EXPANSION_LIMIT} nodes.", remedy="The file is hostile or damaged."
        )


def _expanded(key: tuple[str, str], bodies: dict[tuple[str, str], onnx.FunctionProto], sizes: dict[tuple[str, str], int]) -> int:
    """Nodes of a function once all calls in it are expanded; walks the calls depth first without recursion."""
    stack, open_ = [key], set[tuple[str, str]]()
    while stack:
        top = stack[-1]
        if top in sizes:
            stack.pop()
            continue
        calls = [call for call in _calls(bodies[top]) if call in bodies]
        waiting = [call for call in calls if call not in sizes]
        if not waiting:
            sizes[top] = sum(sizes.get(call, 1) for call in _calls(bodies[top]))
            open_.discard(top)
            stack.pop()
            continue
        open_.add(top)
        if any(call in open_ for call in waiting):
            raise ModelFileError(f"The function {top[0]}::{top[1]} calls itself.", remedy=_AGAIN)
        stack.extend(waiting[:1])
    return sizes[key]


def _calls(function: onnx.FunctionProto) -> Iterator[tuple[str, str]]:
    pending = [iter(function.node)]
    while pending:
        for node in pending.pop():
            yield node.domain, node.op_type
            pending.extend(iter(graph.node) for graph in subgraphs_of(node.attribute))


# ---- operators ---------------------------------------------------------------------------------------------------


class _Operators:
    """Operators of the standard domains exist at the opset given, and get as many inputs as they need."""

    def __init__(self, functions: dict[tuple[str, str], onnx.FunctionProto]) -> None:
        self._functions = functions
        self._schemas: dict[tuple[str, str, int], defs.OpSchema] = {}

    def check(self, nodes: Iterable[onnx.NodeProto], opsets: dict[str, int]) -> None:
        for node in nodes:
            _attributes(node)
            domain = "" if node.domain in _ALIASES else node.domain
            if domain not in _STANDARD or (node.domain, node.op_type) in self._functions:
                continue
            if domain not in opsets:
                raise ModelFileError(
                    f"The model uses {node.op_type} of the domain {domain or 'ai.onnx'!r}, whose version it does not give.",
                    place=_place(node),
                    remedy=_AGAIN,
                )
            self._arity(node, self._schema(node, domain, opsets[domain]))

    def _schema(self, node: onnx.NodeProto, domain: str, version: int) -> defs.OpSchema:
        key = (domain, node.op_type, version)
        if key not in self._schemas:
            try:
                self._schemas[key] = defs.get_schema(node.op_type, max_inclusive_version=version, domain=domain)
            except defs.SchemaError as error:
                raise _unknown(node, domain, version) from error
        return self._schemas[key]

    def _arity(self, node: onnx.NodeProto, schema: defs.OpSchema) -> None:
        given = len(node.input)
        if not schema.min_input <= given <= schema.max_input:
            raise ModelFileError(
                f"{node.op_type} takes {_range(schema.min_input, schema.max_input)} inputs and is given {given}.",
                place=_place(node),
                remedy=_AGAIN,
            )
        made = len(node.output)
        if not schema.min_output <= made <= schema.max_output:
            raise ModelFileError(
                f"{node.op_type} has {_range(schema.min_output, schema.max_output)} outputs and is given {made}.",
                place=_place(node),
                remedy=_AGAIN,
            )


def _attributes(node: onnx.NodeProto) -> None:
    seen: set[str] = set()
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.UNDEFINED and not attribute.ref_attr_name:
            raise ModelFileError(f"The attribute {attribute.name!r} of {node.op_type} has no type.", place=_place(node), remedy=_AGAIN)
        if attribute.name in seen or not attribute.name:
            raise ModelFileError(
                f"{node.op_type} has two attributes {attribute.name!r}, or one without a name.", place=_place(node), remedy=_AGAIN
            )
        seen.add(attribute.name)


def _unknown(node: onnx.NodeProto, domain: str, version: int) -> UnsupportedModelError:
    if defs.has(node.op_type, domain=domain):
        since = min(
            schema.since_version
            for schema in defs.get_all_schemas_with_history()
            if schema.name == node.op_type and schema.domain == domain
        )
        message = f"The operator {node.op_type} exists from opset {since} on; the model uses opset {version}."
        return UnsupportedModelError(message, place=_place(node), remedy=f"Export to opset {since} or later.")
    return UnsupportedModelError(
        f"There is no operator {node.op_type} in the domain {domain or 'ai.onnx'!r} at opset {version}.",
        place=_place(node),
        remedy="Export the model with standard operators, or name the custom operator's own domain.",
    )


def _place(node: onnx.NodeProto) -> str:
    return node.name or (node.output[0] if node.output else node.op_type)


def _range(least: int, most: int) -> str:
    if least == most:
        return str(least)
    return f"{least} or more" if most > 1000 else f"{least} to {most}"
