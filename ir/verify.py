"""The structural verifier: what must hold of every program between any two rewrites.

Single assignment and scopes, order, names, types against the operators' type constraints, numbers of inputs and outputs,
attributes, operator sets, subgraphs, model-local functions, initializers, and the links between values and their readers.
Facts that depend on an operator's signature only are checked once per signature, so that verifying costs about 4 µs a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import onnx_ir
from onnx_ir import AttributeType

from netwright.ir.contrib import OPAQUE
from netwright.ir.dump import excerpt
from netwright.ir.errors import VerifyError
from netwright.ir.operators import DOMAINS
from netwright.ir.opinfo import STANDARD_DOMAINS, schema_of, site, subgraphs
from netwright.ir.program import Program
from netwright.ir.schemas import CONTRIB_DOMAIN, Formal, Schema, type_text

MAX_PROBLEMS = 100
"""`problems` stops after this many."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule.

    Attributes:
        message: what is wrong, with the names in it.
        site: name of the node's first output, or of the value, at fault.
        place: the node's line with the lines around it, or the graph's name.
        remedy: what to do, where there is something particular.
    """

    message: str
    site: str
    place: str
    remedy: str = ""


def verify(program: Program) -> None:
    """Check a program's structure; linear in nodes.

    Raises:
        VerifyError: a rule is broken; its place shows the node with the lines around it.
    """
    for problem in _Check(program).run():
        raise VerifyError(
            problem.message,
            place=problem.place,
            remedy=problem.remedy or "If a pass made this graph, that pass is at fault; else mend the model file.",
        )


def problems(program: Program) -> list[Problem]:
    """All broken rules, the first `MAX_PROBLEMS` of them, in graph order."""
    found: list[Problem] = []
    for problem in _Check(program).run():
        found.append(problem)
        if len(found) == MAX_PROBLEMS:
            break
    return found


@dataclass(slots=True)
class _Scope:
    """The values that a graph defines so far, and the scope around it."""

    title: str
    outer: _Scope | None = None
    names: dict[str, onnx_ir.Value] = field(default_factory=dict[str, onnx_ir.Value])

    def defines(self, value: onnx_ir.Value) -> bool:
        scope: _Scope | None = self
        while scope is not None:
            if scope.names.get(value.name or "") is value:
                return True
            scope = scope.outer
        return False

    def visible(self, name: str) -> onnx_ir.Value | None:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return None


class _Check:
    """One run over a program."""

    __slots__ = ("_accepted", "_function_domains", "_functions", "_opsets", "_program", "_reads")

    def __init__(self, program: Program) -> None:
        self._program = program
        self._functions = program.model.functions
        self._function_domains = {identity[0] for identity in self._functions}
        self._opsets: Mapping[str, int] = program.model.opset_imports
        self._accepted: set[tuple[object, ...]] = set()
        self._reads: dict[onnx_ir.Value, int] = {}

    def run(self) -> Iterator[Problem]:
        main = self._program.graph
        yield from self._opset_imports(f"graph {self._program.name!r}")
        yield from self._graph(main, _Scope(f"graph {self._program.name!r}"))
        yield from self._outputs(main, f"graph {self._program.name!r}")
        for function in self._functions.values():
            title = f"function {function.domain}::{function.name}"
            self._opsets = {**self._program.model.opset_imports, **function.opset_imports}
            self._accepted.clear()
            yield from self._opset_imports(title)
            yield from self._graph(function.graph, _Scope(title))
        yield from self._recursion()
        yield from self._links()

    # ---- graphs ----

    def _opset_imports(self, title: str) -> Iterator[Problem]:
        for domain, version in self._opsets.items():
            if version < 1:
                yield Problem(f"{title} imports version {version} of domain {domain!r}", "", title)

    def _graph(self, graph: onnx_ir.Graph, scope: _Scope) -> Iterator[Problem]:
        yield from self._formals(graph, scope)
        names, reads = scope.names, self._reads
        for node in graph:
            if node.graph is not graph:
                yield self._at(node, "the node does not know the graph that it is in")
            for value in node.inputs:
                if value is None:
                    continue
                reads[value] = reads.get(value, 0) + 1
                if names.get(value.name or "") is not value and not scope.defines(value):
                    yield self._undefined(node, value, scope)
            if node.attributes:
                for name, inner in subgraphs(node):
                    yield from self._graph(inner, _Scope(f"{name} of %{site(node)}", scope))
            yield from self._facts(node)
            for index, value in enumerate(node.outputs):
                name = value.name
                if value.producer() is not node or value.index() != index:
                    yield self._at(node, f"output {index} (%{name}) does not know its node")
                if not name:
                    if name is None:
                        yield self._at(node, f"output {index} has no name")
                    continue
                if name in names or (scope.outer is not None and scope.outer.visible(name) is not None):
                    yield self._at(node, f"%{name} is defined twice")
                names[name] = value
        yield from self._results(graph, scope)

    def _formals(self, graph: onnx_ir.Graph, scope: _Scope) -> Iterator[Problem]:
        for kind, values in (("input", graph.inputs), ("initializer", graph.initializers.values())):
            for value in values:
                name = value.name
                if not name:
                    yield Problem(f"an {kind} has no name", "", scope.title)
                    continue
                if value.producer() is not None:
                    yield Problem(f"{kind} %{name} is also computed by a node", name, scope.title)
                known = scope.names.get(name)
                if known is value and kind == "initializer":
                    continue
                if known is not None or (scope.outer is not None and kind == "initializer" and scope.outer.visible(name) is not None):
                    yield Problem(f"%{name} is defined twice", name, scope.title)
                scope.names[name] = value
        for key, value in graph.initializers.items():
            yield from self._initializer(key, value, scope)

    def _initializer(self, key: str, value: onnx_ir.Value, scope: _Scope) -> Iterator[Problem]:
        tensor = value.const_value
        if key != value.name:
            yield Problem(f"initializer %{value.name} is filed under {key!r}", key, scope.title)
        if tensor is None:
            yield Problem(f"initializer %{key} has no tensor", key, scope.title)
            return
        if value.dtype is not None and value.dtype != tensor.dtype:
            yield Problem(f"initializer %{key} is declared {value.dtype}, but its tensor is {tensor.dtype}", key, scope.title)
        shape = value.shape
        if shape is not None and not value.is_graph_input() and shape.dims != tensor.shape.dims:
            yield Problem(f"initializer %{key} is declared {shape}, but its tensor is {tensor.shape}", key, scope.title)

    def _results(self, graph: onnx_ir.Graph, scope: _Scope) -> Iterator[Problem]:
        for index, value in enumerate(graph.outputs):
            if not value.name:
                yield Problem(f"output {index} has no name", "", scope.title)
            elif scope.names.get(value.name) is not value:
                elsewhere = scope.defines(value)
                hint = "comes from an outer scope; pass it through an Identity" if elsewhere else "is not computed in it"
                yield Problem(f"output %{value.name} of {scope.title} {hint}", value.name, scope.title)

    def _outputs(self, graph: onnx_ir.Graph, title: str) -> Iterator[Problem]:
        seen: set[str] = set()
        for value in graph.outputs:
            if value.name in seen:
                yield Problem(f"%{value.name} is an output twice", value.name or "", title, "Give one of them through an Identity.")
            seen.add(value.name or "")

    def _undefined(self, node: onnx_ir.Node, value: onnx_ir.Value, scope: _Scope) -> Problem:
        namesake = scope.visible(value.name or "")
        if namesake is not None:
            return self._at(node, f"it reads a value %{value.name} that is not the %{value.name} defined here")
        producer = value.producer()
        if producer is not None and producer.graph is node.graph and producer.graph is not None:
            return self._at(node, f"it reads %{value.name} before it is computed (the order is wrong, or the graph has a cycle)")
        return self._at(node, f"it reads %{value.name}, which nothing in scope defines")

    # ---- nodes ----

    def _facts(self, node: onnx_ir.Node) -> Iterator[Problem]:
        """What depends on the operator and its signature only; kept where it held."""
        signature = (
            node.domain,
            node.op_type,
            node.overload,
            node.version,
            tuple([None if value is None else _kind(value) for value in node.inputs]),
            tuple([_kind(value) if value.name else None for value in node.outputs]),
            tuple([(name, attr.type, attr.is_ref()) for name, attr in node.attributes.data.items()]) if node.attributes else (),
        )
        if signature in self._accepted:
            if node.attributes:
                yield from self._subgraph_arity(node)
            return
        sound = True
        for problem in self._signature(node):
            sound = False
            yield problem
        if node.attributes:
            yield from self._subgraph_arity(node)
        if sound:
            self._accepted.add(signature)

    def _signature(self, node: onnx_ir.Node) -> Iterator[Problem]:
        if not node.op_type:
            yield self._at(node, "the node has no operator")
            return
        identity = node.op_identifier()
        function = self._functions.get(identity)
        version = self._opsets.get(node.domain)
        if version is None and node.domain in ("", "ai.onnx"):
            version = self._opsets.get("ai.onnx" if not node.domain else "")
        if version is None:
            yield self._at(node, f"the graph imports no version of domain {node.domain!r}", "Add it to the model's opset imports.")
            return
        if function is not None:
            yield from self._call(node, function)
            return
        schema = schema_of(node.domain, node.op_type, node.version or version)
        if schema is None:
            yield from self._unknown(node, version)
            return
        if schema.deprecated:
            yield self._at(node, f"{node.op_type} is no longer an operator at version {version}")
        yield from self._arity(node, schema)
        yield from self._attributes(node, schema)
        yield from self._types(node, schema)

    def _unknown(self, node: onnx_ir.Node, version: int) -> Iterator[Problem]:
        if node.domain in STANDARD_DOMAINS:
            yield self._at(node, f"there is no operator {node.op_type} in version {version} of domain {node.domain or 'ai.onnx'!r}")
        elif node.domain == CONTRIB_DOMAIN and node.op_type not in OPAQUE:
            yield self._at(node, f"there is no operator {CONTRIB_DOMAIN}::{node.op_type} that ONNX Runtime's CPU provider runs")
        elif node.domain in DOMAINS:
            yield self._at(node, f"netwright has no operator {node.domain}::{node.op_type}")
        elif node.domain in self._function_domains:
            yield self._at(node, f"the model has no function {node.domain}::{node.op_type}, though others of that domain")

    def _call(self, node: onnx_ir.Node, function: onnx_ir.Function) -> Iterator[Problem]:
        if len(node.inputs) > len(function.inputs):
            yield self._at(node, f"{len(node.inputs)} inputs given to a function of {len(function.inputs)}")
        if len(node.outputs) > len(function.outputs):
            yield self._at(node, f"{len(node.outputs)} outputs asked of a function of {len(function.outputs)}")

    def _arity(self, node: onnx_ir.Node, schema: Schema) -> Iterator[Problem]:
        inputs, outputs = list(node.inputs), [value if value.name else None for value in node.outputs]
        yield from self._count(node, "inputs", inputs, schema.inputs, schema.min_inputs, schema.max_inputs)
        yield from self._count(node, "outputs", outputs, schema.outputs, schema.min_outputs, schema.max_outputs)

    def _count(
        self,
        node: onnx_ir.Node,
        what: str,
        values: list[onnx_ir.Value | None],
        formals: tuple[Formal, ...],
        least: int,
        most: int,
    ) -> Iterator[Problem]:
        count = len(values)
        while count and values[count - 1] is None:
            count -= 1
        if not least <= count <= most:
            bound = f"at least {least}" if most > 1_000_000 else str(least) if least == most else f"{least} to {most}"
            verb = "takes" if what == "inputs" else "has"
            yield self._at(node, f"{node.op_type} {verb} {bound} {what}, not {count}")
            return
        for index, value in enumerate(values[:count]):
            formal = formals[min(index, len(formals) - 1)]
            if value is None and not formal.optional and what == "inputs":
                yield self._at(node, f"{what[:-1]} {formal.name!r} of {node.op_type} is missing")

    def _attributes(self, node: onnx_ir.Node, schema: Schema) -> Iterator[Problem]:
        for name, attribute in node.attributes.items():
            facts = schema.attributes.get(name)
            if facts is None and schema.domain != CONTRIB_DOMAIN:
                yield self._at(node, f"{node.op_type} at version {schema.since_version} has no attribute {name!r}")
            elif facts is not None and attribute.type != facts.type and attribute.type != AttributeType.UNDEFINED:
                yield self._at(node, f"attribute {name!r} of {node.op_type} is {attribute.type.name}, {facts.type.name} expected")
        for facts in schema.attributes.values():
            if facts.required and facts.name not in node.attributes:
                yield self._at(node, f"{node.op_type} needs the attribute {facts.name!r}")

    def _types(self, node: onnx_ir.Node, schema: Schema) -> Iterator[Problem]:
        bound: dict[str, tuple[str, str]] = {}
        for values, formals in ((node.inputs, schema.inputs), (node.outputs, schema.outputs)):
            for index, value in enumerate(values):
                text = type_text(value.type) if value is not None and formals else ""
                if value is None or not text:
                    continue
                formal = formals[min(index, len(formals) - 1)]
                if formal.types and text not in formal.types and not _optional_of(text, formal.types):
                    yield self._at(node, f"%{value.name} is {text}; {node.op_type} allows {_some(formal.types)} for {formal.name!r}")
                if formal.variadic and not formal.homogeneous:
                    continue
                known = bound.setdefault(formal.type_var, (text, value.name or ""))
                if known[0] != text and not _mixed(known[0], text):
                    yield self._at(node, f"%{value.name} is {text} but %{known[1]} is {known[0]}; {node.op_type} wants one type")

    def _subgraph_arity(self, node: onnx_ir.Node) -> Iterator[Problem]:
        if node.domain not in ("", "ai.onnx") or node.op_type not in _SUBGRAPH_ARITY:
            return
        graphs = dict(subgraphs(node))
        yield from (self._at(node, message) for message in _SUBGRAPH_ARITY[node.op_type](self, node, graphs))

    def if_arity(self, node: onnx_ir.Node, graphs: Mapping[str, onnx_ir.Graph]) -> Iterator[str]:
        for name, graph in graphs.items():
            if graph.inputs:
                yield f"{name} of If takes no inputs, it has {len(graph.inputs)}"
            if len(graph.outputs) != len(node.outputs):
                yield f"{name} gives {len(graph.outputs)} outputs, the If has {len(node.outputs)}"

    def loop_arity(self, node: onnx_ir.Node, graphs: Mapping[str, onnx_ir.Graph]) -> Iterator[str]:
        carried = len(node.inputs) - 2
        for graph in graphs.values():
            if len(graph.inputs) != carried + 2:
                yield f"the body of Loop takes {len(graph.inputs)} inputs, {carried + 2} expected (iteration, condition, {carried} carried)"
            if len(graph.outputs) != len(node.outputs) + 1:
                yield f"the body of Loop gives {len(graph.outputs)} outputs, {len(node.outputs) + 1} expected"

    def scan_arity(self, node: onnx_ir.Node, graphs: Mapping[str, onnx_ir.Graph]) -> Iterator[str]:
        version = node.version or self._opsets.get(node.domain, 0)
        inputs = len(node.inputs) - (1 if version < 9 else 0)
        for graph in graphs.values():
            if len(graph.inputs) != inputs:
                yield f"the body of Scan takes {len(graph.inputs)} inputs, the Scan has {inputs}"
            if len(graph.outputs) != len(node.outputs):
                yield f"the body of Scan gives {len(graph.outputs)} outputs, the Scan has {len(node.outputs)}"

    # ---- whole program ----

    def _recursion(self) -> Iterator[Problem]:
        """No function calls itself, directly or through others."""
        calls = {
            identity: {node.op_identifier() for node in onnx_ir.traversal.RecursiveGraphIterator(function.graph)} & set(self._functions)
            for identity, function in self._functions.items()
        }
        done: set[tuple[str, str, str]] = set()
        while ready := [identity for identity, called in calls.items() if identity not in done and called <= done]:
            done.update(ready)
        for identity in calls:
            if identity not in done:
                yield Problem(f"function {identity[0]}::{identity[1]} calls itself", identity[1], f"function {identity[0]}::{identity[1]}")
                return

    def _links(self) -> Iterator[Problem]:
        """Every value's list of readers is the readers there are."""
        for value, count in self._reads.items():
            if len(value.uses()) != count:
                yield self._bad_link(value, count)
        for graph in self._program.graphs():
            for node in graph:
                for value in node.outputs:
                    if value not in self._reads and value.uses():
                        yield self._bad_link(value, 0)

    def _bad_link(self, value: onnx_ir.Value, count: int) -> Problem:
        message = f"%{value.name} has {count} readers in the graphs, but lists {len(value.uses())}"
        producer = value.producer()
        remedy = "A node was removed without letting go of its inputs: use the editor."
        if producer is not None:
            return self._at(producer, message, remedy)
        return Problem(message, value.name or "", f"graph {self._program.name!r}", remedy)

    def _at(self, node: onnx_ir.Node, message: str, remedy: str = "") -> Problem:
        where = node.graph.name if node.graph is not None else None
        return Problem(message, site(node), f"%{site(node)} in {where or 'the graph'}:\n{excerpt(node)}\n", remedy)


_SUBGRAPH_ARITY = {"If": _Check.if_arity, "Loop": _Check.loop_arity, "Scan": _Check.scan_arity}


def _kind(value: onnx_ir.Value) -> object:
    """What of a value's type the constraints look at, cheap to hash."""
    kind = value.type
    if type(kind) is onnx_ir.TensorType:
        return kind.dtype
    return type_text(kind)


def _mixed(a: str, b: str) -> bool:
    """An optional's content stands for the optional (Loop and Identity carry both under one variable)."""
    return a == f"optional({b})" or b == f"optional({a})"


def _optional_of(text: str, types: frozenset[str]) -> bool:
    """Sequences and optionals of listed types are listed by their element in some schemas only."""
    return text.startswith("sparse_") and text.removeprefix("sparse_") in types


def _some(types: frozenset[str]) -> str:
    listed = sorted(types)
    return ", ".join(listed[:6]) + (f" and {len(listed) - 6} more" if len(listed) > 6 else "")
