"""The one mutation gate: a transaction in which a Program's graph is changed, or, on an error, left as it was.

    with program.edit(by="0:simplify#3", at=node) as editor:
        fused = editor.op("Gelu", [x], {"approximate": "tanh"})
        editor.replace(node.outputs[0], fused)

Removals are carried out at the end of the transaction, so that everything before can be undone. What a change orphans
(pure nodes whose outputs nobody reads any more, initializers without readers) goes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, cast

import numpy as np
import onnx_ir

from netwright.ir import origin, shapes
from netwright.ir.errors import VerifyError
from netwright.ir.opinfo import is_pure, subgraphs

if TYPE_CHECKING:
    from netwright.ir.maps import Mapped
    from netwright.ir.program import Program

AttributeValue = int | float | str | bool | Sequence[int] | Sequence[float] | Sequence[str] | np.ndarray | onnx_ir.Attr | onnx_ir.Graph


class Editor:
    """One transaction on a Program's graph.

    Args:
        program: what is changed.
        by: number of the action, stamped on every new node.
        at: the node before which new nodes go, and whose provenance they inherit.
        preserves: analyses that the change is known to keep valid.
    """

    __slots__ = ("_at", "_by", "_constants", "_doomed", "_gone", "_undo", "created", "maps", "preserves", "program", "touched")

    def __init__(
        self,
        program: Program,
        *,
        by: str = "",
        at: onnx_ir.Node | None = None,
        preserves: frozenset[Callable[[Program], object]] = frozenset(),
    ) -> None:
        self.program = program
        self.preserves = preserves
        self.maps: dict[str, Mapped] = {}
        self.created: dict[onnx_ir.Node, None] = {}
        self.touched: dict[onnx_ir.Node, None] = {}
        """Nodes whose surroundings changed, in order: what a fixpoint driver must look at again."""
        self._by = by
        self._at = at
        self._undo: list[Callable[[], object]] = []
        self._constants: set[onnx_ir.Value] = set()
        self._doomed: dict[onnx_ir.Node, None] = {}
        self._gone: set[onnx_ir.Node] = set()  # the doomed and all nodes inside them

    # ---- making ----------------------------------------------------------------------------------------------------

    def at(self, node: onnx_ir.Node) -> Editor:
        """Set the node before which the next new nodes go, and whose provenance they inherit."""
        self._at = node
        return self

    def op(
        self,
        op_type: str,
        inputs: Sequence[onnx_ir.Value | None],
        attributes: Mapping[str, AttributeValue | None] | None = None,
        *,
        domain: str = "",
        name: str = "",
        like: onnx_ir.Value | None = None,
    ) -> onnx_ir.Value:
        """Insert a node with one output and return that output.

        Args:
            op_type: operator name.
            inputs: its inputs; `None` for one that is left out.
            attributes: by name; those that are `None` are left out.
            domain: operator domain.
            name: hint for the output's name; the insertion point's name otherwise.
            like: a value whose type and shape the output is known to have; inferred where not given.
        """
        return self.ops(op_type, inputs, attributes, domain=domain, names=(name,), like=(like,) if like is not None else ())[0]

    def ops(
        self,
        op_type: str,
        inputs: Sequence[onnx_ir.Value | None],
        attributes: Mapping[str, AttributeValue | None] | None = None,
        *,
        domain: str = "",
        names: Sequence[str] = ("",),
        like: Sequence[onnx_ir.Value] = (),
    ) -> Sequence[onnx_ir.Value]:
        """Insert a node with `len(names)` outputs and return them; otherwise as `op`."""
        place = self._place()
        attrs = [_attribute(key, value) for key, value in (attributes or {}).items() if value is not None]
        hint = place.outputs[0].name or op_type
        outputs = [onnx_ir.Value(name=self.fresh(name or hint)) for name in names]
        for output, model in zip(outputs, like, strict=False):
            output.type, output.shape = model.type, model.shape
        node = onnx_ir.Node(domain, op_type, inputs, attrs, outputs=outputs, name=outputs[0].name)
        origin.inherit(node, place, self._by)
        graph = _graph_of(place)
        graph.insert_before(place, node)
        self._undo.append(lambda: graph.remove(node, safe=True))
        self._import(domain)
        if not like:
            shapes.infer_nodes(self.program, [node])
        self.created[node] = None
        self.touched[node] = None
        for value in inputs:
            self._touch_producer(value)
        return outputs

    def constant(self, data: np.ndarray | onnx_ir.TensorProtocol, name: str, *, graph: onnx_ir.Graph | None = None) -> onnx_ir.Value:
        """Add an initializer holding `data` to the graph of the insertion point and return its value.

        Args:
            data: an array, or any tensor (a lazy one is evaluated when first read or when saved).
            name: hint for its name.
            graph: another graph to put it in.
        """
        target = graph if graph is not None else _graph_of(self._place())
        unique = self.fresh(name)
        tensor = onnx_ir.Tensor(data, name=unique) if isinstance(data, np.ndarray) else data
        if _is_function_body(self.program, target):
            return self.op("Constant", [], {"value": onnx_ir.AttrTensor("value", tensor)}, name=unique)
        shape = onnx_ir.Shape(list(tensor.shape.numpy()))
        value = onnx_ir.Value(name=unique, shape=shape, type=onnx_ir.TensorType(tensor.dtype), const_value=tensor)
        target.register_initializer(value)
        self._undo.append(lambda: target.initializers.pop(unique))
        self._constants.add(value)
        return value

    # ---- changing --------------------------------------------------------------------------------------------------

    def replace(self, old: onnx_ir.Value, new: onnx_ir.Value, *, keep: onnx_ir.Node | None = None) -> None:
        """Route every reader of `old`, graph outputs included, to `new`; what this orphans goes.

        A value made in this transaction takes over `old`'s name, so that names stay stable along a pipeline; a graph
        output keeps its name in any case.

        Args:
            old: the value.
            new: what takes its place.
            keep: a reader that goes on reading `old`: the first of the nodes that make `new` of it.

        Raises:
            VerifyError: `old` is a graph output and `new` cannot be one (see `can_replace`).
        """
        if not can_replace(old, new):
            raise VerifyError(
                f"%{old.name} is an output of its graph and %{new.name} cannot take its place.",
                place=old.name,
                remedy="Guard the rewrite with can_replace(), or put an Identity between them.",
            )
        fresh = new.producer() in self.created or new in self._constants
        was_output = old.is_graph_output()
        for user, index in tuple(old.uses()):
            if user not in self._gone and user is not keep:
                self.set_input(user, index, new)
        if was_output:
            self._swap_output(old, new)
        if new.shape is None and old.shape is not None:
            new.shape = old.shape
        if new.type is None and old.type is not None:
            new.type = old.type
        for fact, known in cast("dict[str, object]", old.meta).items():
            new.meta.setdefault(fact, known)
        if (fresh or was_output) and old.name and new.name != old.name:
            kept = old.name
            self.rename(old, self.fresh(kept))
            self.rename(new, kept)
        producer = old.producer()
        if producer is not None:
            self.touched[producer] = None
            self._doom_if_dead(producer)
            if keep is not None:
                self._stamp(producer)
        self._touch_users(new)

    def set_input(self, node: onnx_ir.Node, index: int, value: onnx_ir.Value | None) -> None:
        """Make `value` the node's input number `index` (`None` leaves it out)."""
        before = node.inputs[index]
        if before is value:
            return
        node.replace_input_with(index, value)
        self._undo.append(lambda: node.replace_input_with(index, before))
        self.touched[node] = None
        self._touch_producer(before)
        self._touch_producer(value)
        if before is not None and (producer := before.producer()) is not None:
            self._doom_if_dead(producer)

    def resize_inputs(self, node: onnx_ir.Node, count: int) -> None:
        """Grow (with left-out inputs) or shrink a node's inputs to `count`."""
        for index in range(count, len(node.inputs)):
            self.set_input(node, index, None)
        before = len(node.inputs)
        node.resize_inputs(count)
        self._undo.append(lambda: node.resize_inputs(before))
        self.touched[node] = None

    def drop_outputs(self, node: onnx_ir.Node, count: int) -> None:
        """Keep only a node's first `count` outputs; carried out at the end, when nobody may read the others."""
        for output in node.outputs[count:]:
            if output.uses() or output.is_graph_output():
                raise VerifyError(f"%{output.name} is still read.", place=output.name, remedy="Route its readers elsewhere first.")
        names = [output.name for output in node.outputs[count:]]

        def undo() -> None:
            node.resize_outputs(count + len(names))
            for output, name in zip(node.outputs[count:], names, strict=True):
                output.name = name

        node.resize_outputs(count)
        self._undo.append(undo)
        self.touched[node] = None

    def remove_function(self, function: onnx_ir.Function) -> None:
        """Remove a model-local function that no node calls."""
        functions = self.program.model.functions
        key = function.identifier()
        functions.pop(key)
        self._undo.append(lambda: functions.__setitem__(key, function))

    def splice(self, body: onnx_ir.Graph, inputs: Sequence[onnx_ir.Value | None]) -> list[onnx_ir.Value]:
        """Move the nodes and initializers of a graph of its own (a copy of a branch or of a function's body) to the insertion point.

        Args:
            body: emptied; its values get fresh names.
            inputs: what its inputs stand for here.

        Returns:
            What its outputs are here; an output that was an input is the value given for it.
        """
        place = self._place()
        graph = _graph_of(place)
        given = dict(zip(body.inputs, inputs, strict=False))
        results = list(body.outputs)
        body.outputs.clear()
        for formal in body.inputs:
            for user, index in formal.uses():
                user.replace_input_with(index, given.get(formal))
        for value in list(body.initializers.values()):
            body.initializers.pop(value.name or "")
            value.name = self.fresh(value.name or "constant")
            graph.register_initializer(value)
            self._undo.append(lambda value=value: graph.initializers.pop(value.name or ""))
        nodes = list(body)
        for moved in (*nodes, *(inner for node in nodes for inner in _inner_nodes(node))):
            moved.name = self.fresh(moved.name) if moved.name else moved.name
            for value in moved.outputs:
                value.name = self.fresh(value.name) if value.name else value.name
        for inner_graph in (g for node in nodes for g in _inner_graphs(node)):
            for value in (*inner_graph.inputs, *list(inner_graph.initializers.values())):
                value.name = self.fresh(value.name or "inner")
        for node in nodes:
            body.remove(node)
            graph.insert_before(place, node)
            origin.inherit(node, place, self._by)
            self._undo.append(lambda node=node: graph.remove(node, safe=True))
            self.created[node] = None
            self.touched[node] = None
        final: list[onnx_ir.Value] = []
        for result in results:
            actual = given.get(result, result)
            if actual is None:
                raise VerifyError(f"%{result.name} is an output that stands for a left-out input.", place=result.name)
            final.append(actual)
        return final

    def set_attribute(self, node: onnx_ir.Node, name: str, value: AttributeValue | None) -> None:
        """Set, or with `None` delete, an attribute."""
        before = node.attributes.get(name)
        if value is None:
            node.attributes.pop(name, None)
        else:
            node.attributes[name] = _attribute(name, value)

        def undo() -> None:
            if before is None:
                node.attributes.pop(name, None)
            else:
                node.attributes[name] = before

        self._undo.append(undo)
        self.touched[node] = None

    def set_constant(self, value: onnx_ir.Value, data: np.ndarray | onnx_ir.TensorProtocol) -> None:
        """Give an initializer new contents (and, with them, shape and type), for all its readers.

        An array takes over the metadata of the tensor that it replaces.
        """
        before = (value.const_value, value.shape, value.type)
        kept = dict(value.const_value.metadata_props) if value.const_value is not None else {}
        tensor = onnx_ir.Tensor(data, name=value.name, metadata_props=kept) if isinstance(data, np.ndarray) else data
        value.const_value, value.shape, value.type = tensor, onnx_ir.Shape(list(tensor.shape.numpy())), onnx_ir.TensorType(tensor.dtype)

        def undo() -> None:
            value.const_value, value.shape, value.type = before

        self._undo.append(undo)
        self._touch_users(value)

    def set_type(self, value: onnx_ir.Value, *, shape: onnx_ir.Shape | None = None, type: onnx_ir.TypeProtocol | None = None) -> None:
        """State what is known of a value's shape and type."""
        before = (value.shape, value.type)
        if shape is not None:
            value.shape = shape
        if type is not None:
            value.type = type

        def undo() -> None:
            value.shape, value.type = before

        self._undo.append(undo)
        self._touch_users(value)

    def rename(self, value: onnx_ir.Value, name: str) -> None:
        """Give a value another name; the caller sees to it that it is free (`fresh`)."""
        before = value.name
        value.name = name
        self._undo.append(lambda: setattr(value, "name", before))

    def remove(self, nodes: onnx_ir.Node | Iterable[onnx_ir.Node]) -> None:
        """Remove nodes at the end of the transaction, with whatever that orphans.

        Raises:
            VerifyError: at the end, when a removed node's output is still read.
        """
        for node in (nodes,) if isinstance(nodes, onnx_ir.Node) else nodes:
            self._doom(node)

    def remove_initializer(self, value: onnx_ir.Value) -> None:
        """Remove an initializer that nobody reads."""
        graph, name = value.graph, value.name
        if graph is None or name is None or value.uses() or value.is_graph_output():
            raise VerifyError(f"%{name} is still read.", place=name, remedy="Route its readers elsewhere first.")
        graph.initializers.pop(name)
        self._undo.append(lambda: graph.register_initializer(value))

    def replace_model(self, model: onnx_ir.Model) -> None:
        """Put another graph in the place of the whole one, such as the same one converted to a later opset.

        Nodes that make values of new names are stamped with the action.
        """
        before = self.program.model
        known = {value.name for graph in self.program.graphs() for node in graph for value in node.outputs}
        self.program.adopt(model)
        self._undo.append(lambda: self.program.adopt(before))
        for node in self.program.nodes():
            if node.outputs and node.outputs[0].name not in known:
                origin.inherit(node, node, self._by)

    def map(self, name: str, mapped: Mapped) -> None:
        """Record how the value `name` comes from values of the graph before this action."""
        self.maps[name] = mapped

    def fresh(self, hint: str) -> str:
        """A value name not used anywhere in the program: the hint itself, or the hint with a number."""
        return self.program.names.fresh(hint)

    # ---- the transaction -------------------------------------------------------------------------------------------

    def __enter__(self) -> Editor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.rollback()
            return
        try:
            self.commit()
        except VerifyError:
            self.rollback()
            raise

    def rollback(self) -> None:
        """Undo everything, last change first."""
        self._doomed.clear()
        self._gone.clear()
        while self._undo:
            self._undo.pop()()

    def commit(self) -> None:
        """Carry out the removals and advance the program's version."""
        doomed = self._doomed
        for node in doomed:
            for output in node.outputs:
                reader = next((user for user, _ in output.uses() if user not in self._gone), None)
                if reader is not None or output.is_graph_output():
                    raise VerifyError(
                        f"%{output.name} was to be removed but is still read"
                        + (f" by {reader.op_type} %{reader.outputs[0].name}." if reader is not None else " as a graph output."),
                        place=output.name,
                    )
        detached: dict[onnx_ir.Value, None] = {}
        by_graph: dict[onnx_ir.Graph, list[onnx_ir.Node]] = {}
        for node in doomed:
            detached.update((value, None) for value in _reads(node) if value is not None)
            for inner in _inner_nodes(node):
                for index in range(len(inner.inputs)):
                    inner.replace_input_with(index, None)
            by_graph.setdefault(_graph_of(node), []).append(node)
            self.touched.pop(node, None)
        for graph, nodes in by_graph.items():
            graph.remove(nodes, safe=True)
        for value in detached:
            self._drop_if_unread(value)
        if self._undo or doomed:
            self.program.touch(preserves=self.preserves)
        self._undo.clear()

    # ---- inner workings --------------------------------------------------------------------------------------------

    def _place(self) -> onnx_ir.Node:
        if self._at is None:
            raise VerifyError("No insertion point: the editor does not know where new nodes go.", remedy="Call editor.at(node) first.")
        return self._at

    def _stamp(self, node: onnx_ir.Node) -> None:
        """Say of a node that stays that this action renamed its value."""
        before = node.metadata_props.get(origin.BY)
        origin.inherit(node, node, self._by)

        def undo() -> None:
            node.metadata_props.pop(origin.BY, None)
            if before is not None:
                node.metadata_props[origin.BY] = before

        self._undo.append(undo)

    def _import(self, domain: str) -> None:
        imports = self.program.model.opset_imports
        if domain and domain not in imports:
            imports[domain] = 1
            self._undo.append(lambda: imports.pop(domain))

    def _swap_output(self, old: onnx_ir.Value, new: onnx_ir.Value) -> None:
        graph = old.graph
        if graph is None:
            return
        for index, output in enumerate(graph.outputs):
            if output is old:
                graph.outputs[index] = new
                self._undo.append(lambda index=index: graph.outputs.__setitem__(index, old))

    def _doom(self, node: onnx_ir.Node) -> None:
        if node in self._doomed:
            return
        self._condemn(node)
        for value in _reads(node):
            if value is not None and (producer := value.producer()) is not None:
                self.touched[producer] = None
                self._doom_if_dead(producer)

    def _condemn(self, node: onnx_ir.Node) -> None:
        self._doomed[node] = None
        self._gone.add(node)
        self._gone.update(_inner_nodes(node))

    def _doom_if_dead(self, node: onnx_ir.Node) -> None:
        stack = [node]
        while stack:
            candidate = stack.pop()
            if candidate in self._doomed or candidate.graph is None or not is_pure(candidate) or not self._dead(candidate):
                continue
            self._condemn(candidate)
            for value in _reads(candidate):
                if value is None:
                    continue
                self._touch_users(value)
                if (producer := value.producer()) is not None:
                    self.touched[producer] = None
                    stack.append(producer)

    def _dead(self, node: onnx_ir.Node) -> bool:
        return all(not out.is_graph_output() and all(user in self._gone for user, _ in out.uses()) for out in node.outputs)

    def _drop_if_unread(self, value: onnx_ir.Value) -> None:
        graph = value.graph
        if graph is None or not value.is_initializer() or reader_count(value) or value.is_graph_output() or value.is_graph_input():
            return
        graph.initializers.pop(value.name or "")

    def _touch_producer(self, value: onnx_ir.Value | None) -> None:
        if value is not None and (producer := value.producer()) is not None:
            self.touched[producer] = None

    def _touch_users(self, value: onnx_ir.Value) -> None:
        if reader_count(value) <= _MANY:  # a value read by very many (a shared constant) would make each rewrite linear in its readers
            for user, _ in value.uses():
                self.touched[user] = None


_MANY = 64


def reader_count(value: onnx_ir.Value) -> int:
    """How often nodes read a value. Does not depend on how often, as `len(value.uses())` does, which copies all uses."""
    return len(value._uses)  # pyright: ignore[reportPrivateUsage]


class Names:
    """The value and node names in use, and fresh ones on request; a name once given out is not given again."""

    __slots__ = ("_counters", "_used")

    def __init__(self, used: Iterable[str]) -> None:
        self._used = set(used)
        self._counters: dict[str, int] = {}

    def fresh(self, hint: str) -> str:
        """The hint, or the hint followed by the lowest number not tried yet."""
        if hint not in self._used:
            self._used.add(hint)
            return hint
        number = self._counters.get(hint, 0) + 1
        while f"{hint}_{number}" in self._used:
            number += 1
        self._counters[hint] = number
        name = f"{hint}_{number}"
        self._used.add(name)
        return name


def can_replace(old: onnx_ir.Value, new: onnx_ir.Value) -> bool:
    """True when every reader of `old` may read `new` instead.

    Only graph outputs are in the way: an output must be a node's own result in the same graph, and no two outputs the
    same value.
    """
    if not old.is_graph_output():
        return True
    return new.producer() is not None and new.graph is old.graph and not new.is_graph_output() and _single_output(old)


def _single_output(value: onnx_ir.Value) -> bool:
    graph = value.graph
    return graph is not None and sum(output is value for output in graph.outputs) == 1


def _graph_of(node: onnx_ir.Node) -> onnx_ir.Graph:
    graph = node.graph
    if graph is None:
        raise VerifyError(f"{node.op_type} %{node.outputs[0].name} is no longer in a graph.", place=node.outputs[0].name)
    return graph


def _is_function_body(program: Program, graph: onnx_ir.Graph) -> bool:
    return bool(program.model.functions) and any(function.graph is graph for function in program.model.functions.values())


def _bodies(node: onnx_ir.Node) -> list[onnx_ir.Graph]:
    """The graphs that stand in a node's attributes."""
    return [body for _, body in subgraphs(node)]


def _inner_nodes(node: onnx_ir.Node) -> list[onnx_ir.Node]:
    """The nodes of all graphs inside a node's attributes, at any depth."""
    return [inner for body in _bodies(node) for inner in body.all_nodes()]


def _inner_graphs(node: onnx_ir.Node) -> list[onnx_ir.Graph]:
    """All graphs inside a node's attributes, at any depth."""
    return [graph for body in _bodies(node) for graph in (body, *body.subgraphs())]


def _reads(node: onnx_ir.Node) -> list[onnx_ir.Value | None]:
    """What a node reads: its inputs, and what its subgraphs capture."""
    inner = _inner_nodes(node)
    return [*node.inputs, *(value for nested in inner for value in nested.inputs)] if inner else list(node.inputs)


def _attribute(name: str, value: AttributeValue) -> onnx_ir.Attr:
    if isinstance(value, onnx_ir.Attr):
        return value
    if isinstance(value, bool):
        return onnx_ir.AttrInt64(name, int(value))
    if isinstance(value, np.ndarray):
        return onnx_ir.AttrTensor(name, onnx_ir.Tensor(value))
    return onnx_ir.convenience.convert_attribute(name, value)
