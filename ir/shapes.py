"""Symbolic shapes: types and shapes of all values, and the contents of small integer tensors that hold shapes.

The rules come from the package `onnx-shape-inference` and from `netwright.ir.shape_rules`; the walk over graphs, subgraphs
and functions is ours. A shape that could not be inferred is dropped rather than kept from before, and the site is a Miss.
Dimensions without a name get one (`_d0`, `_d1` …), so that what depends on them can be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir
from onnx_ir import DataType, Shape

from netwright.ir.dims import Dim, dims_equal, expression, is_known, names_in, product, same_dims, shape_of, words_in
from netwright.ir.errors import NetwrightError
from netwright.ir.ledger import Miss
from netwright.ir.opinfo import int_attr, ints_attr, site, subgraphs
from netwright.ir.program import Program
from netwright.ir.shape_context import CONTENTS, WITH_CONTENTS, Context, Names, contents, noted
from netwright.ir.shape_rules import rule_for

__all__ = [
    "Dim",
    "dims_equal",
    "generated_joints",
    "infer",
    "infer_nodes",
    "is_inferred",
    "product",
    "rank",
    "same_dims",
    "same_shape",
    "shape_of",
    "specialised",
    "static_shape",
    "symbolic_data",
]

_NAMES = "netwright.dimension_names"
"""Key in `program.resources`: where the program's unnamed dimensions get their names."""

_RULE_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RuntimeError, NetwrightError)
"""What a rule may raise on a node that it does not understand; the Miss carries it."""

_LOOP_ROUNDS = 4
"""How often a loop's body is inferred again with wider shapes before its carried shapes count as unknown."""


# ---- asking ---------------------------------------------------------------------------------------------------------


def rank(value: onnx_ir.Value | None) -> int | None:
    """A value's number of dimensions, or None where unknown."""
    dims = shape_of(value)
    return None if dims is None else len(dims)


def static_shape(value: onnx_ir.Value | None) -> tuple[int, ...] | None:
    """A value's shape where all dimensions are integers, else None."""
    dims = shape_of(value)
    if dims is None:
        return None
    integers = tuple(dim for dim in dims if isinstance(dim, int))
    return integers if len(integers) == len(dims) else None


def same_shape(a: onnx_ir.Value | None, b: onnx_ir.Value | None) -> bool:
    """True only where two values provably have the same shape."""
    left, right = shape_of(a), shape_of(b)
    return left is not None and right is not None and same_dims(left, right)


def symbolic_data(value: onnx_ir.Value | None) -> list[Dim] | None:
    """The elements of a small integer or boolean tensor of rank 0 or 1, as far as they are known.

    Follows shape arithmetic: after `Gather(Shape(x), 0)` the element is x's first dimension. An element that is not
    known is `SymbolicDim(None)`, which equals nothing; booleans are 0 and 1.

    Returns:
        None where nothing is known, or the value is no such tensor.
    """
    found = contents(value)
    return None if found is None else list(found)


# ---- inferring ------------------------------------------------------------------------------------------------------


def infer(program: Program, *, keep_declared: bool = False) -> list[Miss]:
    """Infer types and shapes of every value of every graph, in place. Linear in nodes, about 50 µs each.

    What was known of inner values before is forgotten first. Shapes of the main graph's inputs and outputs are the
    program's signature: names declared there stay.

    Args:
        program: the program.
        keep_declared: where inference finds nothing or only "some number", believe what the file declares; for use on
            load, before anything has changed.

    Returns:
        A Miss for each node whose operator has no rule, or whose rule failed, with the reason.
    """
    names = Names()
    names.taken |= _declared_names(program, everything=keep_declared)
    program.resources[_NAMES] = names
    walk = _Walk(program, names, keep_declared=keep_declared)
    for function in program.model.functions.values():
        for graph in (function.graph, *function.subgraphs()):
            for node in graph:
                _forget(node.outputs)
    walk.graph(walk.context(program.model.opset_imports), program.graph)
    return walk.misses


def is_inferred(program: Program) -> bool:
    """True once `infer` has run; the editor keeps what it found up to date from then on."""
    return _NAMES in program.resources


def infer_nodes(program: Program, nodes: Sequence[onnx_ir.Node]) -> list[Miss]:
    """Infer types and shapes of the outputs of some nodes, given in order; the rest stays as it is.

    Args:
        program: the program that the nodes are, or will be, in.
        nodes: the nodes, each after those that it reads from.

    Returns:
        A Miss for each node without a rule or whose rule failed; its outputs' shapes are unknown then.
    """
    names = program.resources.get(_NAMES)
    if not isinstance(names, Names):
        names = Names()
        names.taken |= _declared_names(program, everything=True)
        program.resources[_NAMES] = names
    walk = _Walk(program, names)
    context = walk.context(program.model.opset_imports)
    for node in nodes:
        walk.initializers(value for value in node.inputs if value is not None and value.const_value is not None and value.shape is None)
        walk.node(context, node)
    return walk.misses


def specialised(program: Program, node: onnx_ir.Node) -> onnx_ir.Graph | None:
    """The body of the model-local function that a node calls, copied, with the call's shapes and attributes in place.

    Returns:
        None where the node calls no model-local function.
    """
    function = program.model.functions.get(node.op_identifier())
    if function is None:
        return None
    names = program.resources.get(_NAMES)
    walk = _Walk(program, names if isinstance(names, Names) else Names())
    return walk.instance(node, function)


def generated_joints(program: Program) -> dict[str, tuple[str, ...]]:
    """For names that the program's inputs do not have, the dimensions that they come from.

    Of a name that inference made up, those that were broadcast; of one that only an output declares, what was inferred there.
    """
    names = program.resources.get(_NAMES)
    if not isinstance(names, Names):
        return {}
    found = {dim.value: key[1:] for key, dim in names.joints.items() if dim.value and key[0] == "broadcast"}
    known = {name for value in program.inputs for name in names_in(shape_of(value) or ())} | found.keys()
    found |= {name: (dim.value,) for name, dim in names.declared.items() if dim.value and names_in((dim,)) <= known}
    return found


@dataclass(slots=True)
class _Walk:
    """One run of inference: what it is about, and what it missed."""

    program: Program
    names: Names
    keep_declared: bool = False
    misses: list[Miss] = field(default_factory=list[Miss])
    active: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    calls: dict[object, list[_Found]] = field(default_factory=dict[object, "list[_Found]"])

    def context(self, opsets: Mapping[str, int]) -> Context:
        return Context(opsets, self.names)

    # -- graphs and nodes --

    def graph(self, context: Context, graph: onnx_ir.Graph) -> None:
        self.initializers(graph.initializers.values())
        for value in graph.inputs:
            self._name_dims(value)
        for node in graph:
            self.node(context, node)

    def initializers(self, values: Iterable[onnx_ir.Value]) -> None:
        for value in values:
            tensor = value.const_value
            if tensor is None or (value.is_graph_input() and value.shape is not None):
                continue
            value.shape = Shape(tensor.shape.numpy())
            if value.dtype != tensor.dtype:
                value.type = onnx_ir.TensorType(tensor.dtype)

    def node(self, context: Context, node: onnx_ir.Node) -> None:
        before = [_Found.of(value) for value in node.outputs]
        _forget(node.outputs)
        context.minted.clear()
        reason = self._infer(context, node)
        if reason:
            _forget(node.outputs)
            self.misses.append(Miss(reason, site(node), "shapes"))
        for value, old in zip(node.outputs, before, strict=True):
            self._settle(context, value, old)

    def _infer(self, context: Context, node: onnx_ir.Node) -> str:
        """Apply what is known of the node's operator; the reason why not, else nothing."""
        function = self.program.model.functions.get(node.op_identifier()) if node.domain else None
        standard = not node.domain or node.domain == "ai.onnx"
        control = _CONTROL.get(node.op_type) if standard and node.attributes else None
        if node.op_type == "Scan" and _version(context, node) < 9:
            control = None
        rule = None if function or control else rule_for(node.domain, node.op_type, _version(context, node))
        if not (function or control or rule):
            return f"no shape rule for {_called(node, _version(context, node))}"
        if rule and not control and node.attributes:
            for _, graph in subgraphs(node):
                self.graph(context, graph)
        lent = _lend_constants(node)
        try:
            if function:
                self._call(node, function)
            elif control:
                control(self, context, node)
            elif rule:
                rule(context, node)
        except _RULE_ERRORS as error:
            return f"the shape rule of {_called(node, _version(context, node))} fails: {_because(error)}"
        finally:
            for value in lent:
                value.const_value = None
        return ""

    def _settle(self, context: Context, value: onnx_ir.Value, old: _Found) -> None:
        """Weigh what was found against what was declared before."""
        if value.type is None:
            value.type = old.type
        if value.is_graph_output() and value.graph is self.program.graph:
            self._settle_output(value, old)
            return
        if not self.keep_declared or old.dims is None:
            return
        dims = shape_of(value)
        if dims is None:
            context.set_shape(value, Shape(old.dims))
        elif len(dims) == len(old.dims):
            minted = context.minted
            vague = [not isinstance(dim, int) and dim.value in minted for dim in dims]
            kept = [declared if unsure and is_known(declared) else dim for dim, declared, unsure in zip(dims, old.dims, vague, strict=True)]
            value.shape = Shape(kept)

    def _settle_output(self, value: onnx_ir.Value, old: _Found) -> None:
        """A program's output keeps its declared names and type; an integer that was inferred wins."""
        if old.type is not None and value.type != old.type:
            self.misses.append(Miss(f"declared as {old.type}, but {value.type} is inferred", value.name or "", "shapes"))
            value.type = old.type
        dims = shape_of(value)
        if old.dims is None or dims is None:
            if dims is None and old.dims is not None:
                value.shape = Shape(old.dims)
            return
        if len(old.dims) != len(dims):
            self.misses.append(Miss(f"declared with rank {len(old.dims)}, but rank {len(dims)} is inferred", value.name or "", "shapes"))
            return
        merged: list[Dim] = []
        for found, declared in zip(dims, old.dims, strict=True):
            if isinstance(found, int) and isinstance(declared, int) and found != declared:
                self.misses.append(Miss(f"a dimension is declared as {declared}, but {found} is inferred", value.name or "", "shapes"))
            merged.append(found if isinstance(found, int) or not is_known(declared) else declared)
            self._note_declared(found, declared)
        value.shape = Shape(merged)

    def _note_declared(self, found: Dim, declared: Dim) -> None:
        """Remember what a name stands for that no input has."""
        name = None if isinstance(declared, int) else declared.value
        if isinstance(found, int) or found.value is None or name is None or not name.isidentifier():
            return
        found = self.names.declared.get(found.value, found)
        if names_in((found,)) & {name, *self.names.declared}:
            return  # so that none stands for itself
        if all(name not in names_in(shape_of(value) or ()) for value in self.program.inputs):
            self.names.declared[name] = found

    def _name_dims(self, value: onnx_ir.Value) -> None:
        dims = shape_of(value)
        if dims is not None and not all(_usable(dim) for dim in dims):
            value.shape = Shape(tuple(dim if _usable(dim) else self.names.fresh() for dim in dims))

    # -- control flow --

    def branch(self, context: Context, node: onnx_ir.Node) -> None:
        """If: where both branches agree, the result is known."""
        branches = [graph for _, graph in subgraphs(node)]
        if len(branches) != 2:
            raise ValueError("it has not two branches")
        for graph in branches:
            self.graph(context, graph)
        context.minted.clear()
        for output, left, right in zip(node.outputs, branches[0].outputs, branches[1].outputs, strict=True):
            kind = left.type or right.type
            if kind is not None:
                context.set_type(output, kind)
            dims = self._join(context, shape_of(left), shape_of(right))
            if dims is not None:
                context.set_shape(output, Shape(dims))

    def loop(self, context: Context, node: onnx_ir.Node) -> None:
        """Loop: carried shapes widen until the body keeps them; a scanned length is the trip count if nothing stops the loop early."""
        ((_, body),) = subgraphs(node)
        carried = len(node.inputs) - 2
        iteration, condition, *states = body.inputs
        for value, dtype in ((iteration, DataType.INT64), (condition, DataType.BOOL)):
            context.set_shape_and_dtype(value, Shape(()), dtype)
        finals = self._carry(context, node.inputs[2:], states, body, body.outputs[1 : 1 + carried])
        context.minted.clear()
        trip = contents(node.inputs[0])
        runs_through = _always_true(body.outputs[0], condition, node.inputs[1])
        length = trip[0] if trip and runs_through and is_known(trip[0]) else None
        if isinstance(length, int):
            length = max(length, 0)
        for index, output in enumerate(node.outputs):
            inner = body.outputs[index + 1]
            if inner.type is not None:
                context.set_type(output, inner.type)
            dims = finals[index] if index < carried else shape_of(inner)
            if dims is None or index < carried:
                _set_dims(context, output, dims)
                continue
            context.set_shape(output, Shape((length if length is not None else context.new_symbolic_dim(), *dims)))

    def scan(self, context: Context, node: onnx_ir.Node) -> None:
        """Scan: states as in Loop; scanned inputs lose an axis on the way in, scanned outputs gain it on the way out."""
        ((_, body),) = subgraphs(node)
        count = int_attr(node, "num_scan_inputs", 0)
        carried = len(node.inputs) - count
        axes = ints_attr(node, "scan_input_axes") or (0,) * count
        length: Dim | None = None
        for value, formal, axis in zip(node.inputs[carried:], body.inputs[carried:], axes, strict=True):
            if value is None:
                raise ValueError("a scanned input is missing")
            if value.dtype is not None:
                context.set_dtype(formal, value.dtype)
            dims = shape_of(value)
            if dims is None:
                continue
            at = axis % len(dims)
            length = dims[at] if length is None or isinstance(dims[at], int) else length
            context.set_shape(formal, Shape((*dims[:at], *dims[at + 1 :])))
        finals = self._carry(context, node.inputs[:carried], body.inputs[:carried], body, body.outputs[:carried])
        context.minted.clear()
        out_axes = ints_attr(node, "scan_output_axes") or (0,) * (len(node.outputs) - carried)
        for index, (output, inner) in enumerate(zip(node.outputs, body.outputs, strict=True)):
            if inner.type is not None:
                context.set_type(output, inner.type)
            dims = finals[index] if index < carried else shape_of(inner)
            if dims is None or index < carried:
                _set_dims(context, output, dims)
                continue
            at = out_axes[index - carried] % (len(dims) + 1)
            context.set_shape(output, Shape((*dims[:at], length if length is not None else context.new_symbolic_dim(), *dims[at:])))

    def _carry(
        self,
        context: Context,
        initial: Sequence[onnx_ir.Value | None],
        formals: Sequence[onnx_ir.Value],
        body: onnx_ir.Graph,
        results: Sequence[onnx_ir.Value],
    ) -> list[tuple[Dim, ...] | None]:
        """Infer a loop's body, widening the shapes of what it carries until they hold for every round; their shapes after it."""
        shapes = [shape_of(value) if value is not None else None for value in initial]
        for value, formal in zip(initial, formals, strict=True):
            if value is not None and value.type is not None:
                context.set_type(formal, value.type)
        seen = len(self.misses)
        widened: set[Dim] = set()
        for rounds_left in reversed(range(_LOOP_ROUNDS)):
            del self.misses[seen:]
            for formal, dims in zip(formals, shapes, strict=True):
                _set_dims(context, formal, dims)
            self.graph(context, body)
            wider = [self._widen(dims, shape_of(result), widened) for dims, result in zip(shapes, results, strict=True)]
            if wider == shapes:
                break
            shapes = wider if rounds_left > 1 else [None if dims is None else self._anything(dims, widened) for dims in wider]
        return [None if dims is None else tuple(self.names.fresh() if dim in widened else dim for dim in dims) for dims in shapes]

    def _widen(self, dims: Sequence[Dim] | None, result: Sequence[Dim] | None, widened: set[Dim]) -> tuple[Dim, ...] | None:
        """What a loop carries, in every round: a dimension that a round changes gets a name that stands for each round's own."""
        if dims is None or result is None or len(dims) != len(result):
            return None
        changed = [not dims_equal(before, after) and before not in widened for before, after in zip(dims, result, strict=True)]
        fresh = [self.names.fresh() if change else dim for dim, change in zip(dims, changed, strict=True)]
        widened.update(dim for dim, change in zip(fresh, changed, strict=True) if change)
        return tuple(fresh)

    def _anything(self, dims: Sequence[Dim], widened: set[Dim]) -> tuple[Dim, ...]:
        fresh = tuple(dim if dim in widened else self.names.fresh() for dim in dims)
        widened.update(fresh)
        return fresh

    def _join(self, context: Context, a: Sequence[Dim] | None, b: Sequence[Dim] | None) -> tuple[Dim, ...] | None:
        """A shape that holds for both: where they differ, some number with a name of its own."""
        if a is None or b is None or len(a) != len(b):
            return None
        return tuple(x if dims_equal(x, y) else context.new_symbolic_dim() for x, y in zip(a, b, strict=True))

    # -- functions --

    def _call(self, node: onnx_ir.Node, function: onnx_ir.Function) -> None:
        key = _call_key(node)
        found = self.calls.get(key)
        if found is None:
            taken = set(self.names.taken)
            body = self.instance(node, function)
            found = [_Found.of(value) for value in body.outputs]
            minted = self.names.taken - taken
            if not any(minted & names_in(result.dims or ()) for result in found):
                self.calls[key] = found
        for value, result in zip(node.outputs, found, strict=False):
            result.give(value)

    def instance(self, node: onnx_ir.Node, function: onnx_ir.Function) -> onnx_ir.Graph:
        """A copy of a function's body in which the call's types, shapes and attributes hold.

        Raises:
            RuntimeError: the function calls itself.
        """
        identity = function.identifier()
        if identity in self.active:
            raise RuntimeError(f"function {function.name!r} calls itself")
        given = {**function.attributes, **node.attributes}
        body = function.graph.clone()
        for graph in (body, *body.subgraphs()):
            for inner in graph:
                _resolve(inner, given)
        for formal, actual in zip(body.inputs, node.inputs, strict=False):
            _forget((formal,))
            if actual is not None:
                _Found.of(actual, everything=True).give(formal)
        seen = len(self.misses)
        self.active.append(identity)
        self.graph(self.context({**self.program.model.opset_imports, **function.opset_imports}), body)
        self.active.pop()
        self.misses[seen:] = [Miss(f"in a call of {function.name}: {miss.reason}", site(node), "shapes") for miss in self.misses[seen:][:1]]
        return body


_CONTROL = {"If": _Walk.branch, "Loop": _Walk.loop, "Scan": _Walk.scan}


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of a value: type, dimensions, contents."""

    type: onnx_ir.TypeProtocol | None
    dims: tuple[Dim, ...] | None
    data: tuple[Dim, ...] | None = None

    @classmethod
    def of(cls, value: onnx_ir.Value, *, everything: bool = False) -> _Found:
        data = contents(value) if everything or value.dtype in WITH_CONTENTS else None
        return cls(value.type, shape_of(value), data)

    def give(self, value: onnx_ir.Value) -> None:
        if self.type is not None:
            value.type = onnx_ir.TensorType(self.type.dtype) if type(self.type) is onnx_ir.TensorType else self.type
        if self.dims is not None:
            value.shape = Shape(self.dims)
        if self.data is not None:
            value.meta[CONTENTS] = self.data


# ---- helpers --------------------------------------------------------------------------------------------------------


def _forget(values: Iterable[onnx_ir.Value]) -> None:
    for value in values:
        if value.dtype in WITH_CONTENTS:
            value.meta.pop(CONTENTS, None)
        value.shape = None
        value.type = None


def _set_dims(context: Context, value: onnx_ir.Value, dims: Sequence[Dim] | None) -> None:
    if dims is None:
        value.shape = None
        return
    context.set_shape(value, Shape(tuple(dims)))


def _version(context: Context, node: onnx_ir.Node) -> int:
    return node.version or context.get_opset_version(node.domain)


def _called(node: onnx_ir.Node, version: int) -> str:
    domain = f"{node.domain}::" if node.domain else ""
    return f"{domain}{node.op_type} at version {version}"


def _because(error: Exception) -> str:
    cause = error.__cause__ or error
    text = str(cause).split("\n", 1)[0]
    return text or type(cause).__name__


def _usable(dim: Dim) -> bool:
    """True of sizes and of names that arithmetic can work with (`?`, `-1` and −1, as some exporters write, are none)."""
    if isinstance(dim, int):
        return dim >= 0
    if dim.value is None:
        return False
    if dim.value.isidentifier():
        return True
    found = expression(dim)
    return found is not None and bool(found.free_symbols)


def _declared_names(program: Program, *, everything: bool) -> set[str]:
    """Words that may be names of dimensions in use: in the signature, or in every value's shape."""
    found: set[str] = set()
    for graph in program.graphs():
        for value in (*graph.inputs, *graph.outputs):
            found |= words_in(shape_of(value) or ())
        if not everything:
            continue
        for node in graph:
            for value in node.outputs:
                found |= words_in(shape_of(value) or ())
    return found


def _lend_constants(node: onnx_ir.Node) -> list[onnx_ir.Value]:
    """Make known contents of the inputs readable as constants while a rule runs."""
    lent: list[onnx_ir.Value] = []
    for value in node.inputs:
        if value is None or value.const_value is not None or value.dtype not in WITH_CONTENTS:
            continue
        data = noted(value)
        if data is None or value.shape is None:
            continue
        integers = [element for element in data if isinstance(element, int)]
        if len(integers) < len(data):
            continue
        value.const_value = onnx_ir.tensor(integers if value.shape.rank() else integers[0], dtype=value.dtype)
        lent.append(value)
    return lent


def _always_true(result: onnx_ir.Value, formal: onnx_ir.Value, initial: onnx_ir.Value | None) -> bool:
    """True where a loop's condition provably never turns false: it is passed on as it came, or is constantly true."""
    if initial is not None and contents(initial) != (1,):
        return False
    while (node := result.producer()) is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        result = node.inputs[0]
    return result is formal or contents(result) == (1,)


def _call_key(node: onnx_ir.Node) -> tuple[object, ...]:
    """What a call's result depends on."""
    inputs = tuple(None if value is None else (str(value.type), shape_of(value), contents(value)) for value in node.inputs)
    return (node.op_identifier(), inputs, tuple((name, str(found.value)) for name, found in node.attributes.items()))


def _resolve(node: onnx_ir.Node, given: Mapping[str, onnx_ir.Attr]) -> None:
    """Put a call's attributes in the place of references to them; those that the call does not give are left out."""
    for name, found in list(node.attributes.items()):
        if not found.is_ref():
            continue
        actual = given.get(found.ref_attr_name or "")
        if actual is None or actual.value is None:
            del node.attributes[name]
            continue
        node.attributes[name] = onnx_ir.Attr(name, actual.type, actual.value)
