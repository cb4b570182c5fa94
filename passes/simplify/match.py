"""Small questions about the surroundings of a node, out of which fusions are matched."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import onnx_ir

from netwright.ir.dims import Dim, as_dim, shape_of
from netwright.ir.opinfo import has_references
from netwright.ir.program import Program, constant
from netwright.ir.shapes import rank
from netwright.passes.numerics import Close, Numerics
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Match, Rule

CLOSE = Close(rtol=1e-4, atol=1e-5)
"""What fusions promise: the same function up to rounding."""


def fusion(*ops: str, since: int = 0, numerics: Numerics = CLOSE) -> Callable[[Match], Rule]:
    """Make a rule of a match function, as `rule` does, that looks only where the operator set is recent enough.

    Args:
        ops: root operators.
        since: the opset that introduced what the rule writes.
        numerics: what the rule promises.
    """

    def make(match: Match) -> Rule:
        def guarded(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
            if program.opset < since and not program.model.functions:
                return None
            if has_references(node) or (program.model.functions and opset_of(node, program) < since):
                return None
            return match(node, program)

        return Rule(match.__name__, ops, guarded, numerics)

    return make


def opset_of(node: onnx_ir.Node, program: Program) -> int:
    """The standard opset that holds at a node: a model-local function has its own."""
    for function in program.model.functions.values():
        if function.graph is node.graph or any(graph is node.graph for graph in function.subgraphs()):
            return function.opset_imports.get("", program.opset)
    return program.opset


def producer(value: onnx_ir.Value | None, *ops: str) -> onnx_ir.Node | None:
    """The node that makes a value, if it is a standard operator of one of the given types."""
    if value is None:
        return None
    node = value.producer()
    if node is None or node.op_type not in ops or node.domain not in ("", "ai.onnx") or has_references(node):
        return None
    return node


def only_reader(value: onnx_ir.Value) -> onnx_ir.Node | None:
    """The one node that reads a value, and reads it once, in the same graph; None for graph outputs too."""
    users = value.uses()
    if len(users) != 1 or value.is_graph_output():
        return None
    node = next(iter(users)).node
    return node if node.graph is value.graph else None


def reader(value: onnx_ir.Value, *ops: str) -> onnx_ir.Node | None:
    """The only reader of a value, if it is a standard operator of one of the given types."""
    node = only_reader(value)
    if node is None or node.op_type not in ops or node.domain not in ("", "ai.onnx") or has_references(node):
        return None
    return node


def other_input(node: onnx_ir.Node, value: onnx_ir.Value) -> onnx_ir.Value | None:
    """What a node of two inputs reads beside `value`; None if it reads `value` twice, or not at all."""
    if len(node.inputs) != 2:
        return None
    left, right = node.inputs
    if left is value:
        return None if right is value else right
    return left if right is value else None


def scalar(value: onnx_ir.Value | None, beside: onnx_ir.Value | None = None) -> float | None:
    """The number in a constant of one element, else None.

    Args:
        value: the constant.
        beside: the other operand, whose rank the constant must not raise by broadcasting; a constant of rank 0 never does.
    """
    tensor = constant(value)
    if tensor is None or tensor.size != 1:
        return None
    dims = len(tensor.shape)
    if dims and (beside is None or (rank(beside) or 0) < dims):
        return None
    if tensor.dtype in (onnx_ir.DataType.STRING, onnx_ir.DataType.UNDEFINED):
        return None
    return float(tensor.numpy().reshape(()))


def close_to(number: float | None, wanted: float, tolerance: float = 1e-4) -> bool:
    """True where a number is there and within a relative tolerance of `wanted`."""
    return number is not None and abs(number - wanted) <= tolerance * max(abs(wanted), 1e-6)


def scaled_by(value: onnx_ir.Value | None) -> tuple[onnx_ir.Value, float] | None:
    """Of a product or quotient with a number: the other operand, and the factor."""
    node = producer(value, "Mul", "Div")
    if node is None:
        return None
    left, right = node.inputs
    if left is None or right is None:
        return None
    number = scalar(right, left)
    if number is not None and constant(left) is None:
        if node.op_type == "Mul":
            return left, number
        return (left, 1.0 / number) if number else None
    number = scalar(left, right) if node.op_type == "Mul" else None
    return None if number is None or constant(right) is not None else (right, number)


def split_constant(node: onnx_ir.Node) -> tuple[onnx_ir.Value, onnx_ir.Value] | None:
    """Of a node of two inputs, one of them constant: the variable one and the constant one."""
    if len(node.inputs) != 2:
        return None
    left, right = node.inputs
    if left is None or right is None:
        return None
    left_constant, right_constant = constant(left) is not None, constant(right) is not None
    if left_constant == right_constant:
        return None
    return (right, left) if left_constant else (left, right)


def escaping(nodes: Collection[onnx_ir.Node], root: onnx_ir.Node) -> onnx_ir.Value | None:
    """The first output of the matched nodes, the root's own left out, that is read outside the match.

    Replacing the root would not remove what makes that value, so a fusion would add work rather than save it.
    """
    covered = set(nodes)
    covered.add(root)
    for node in nodes:
        if node is root:
            continue
        for value in node.outputs:
            if value.is_graph_output() or any(user not in covered for user, _ in value.uses()):
                return value
    return None


def read_elsewhere(value: onnx_ir.Value, root: onnx_ir.Node, what: str) -> Miss:
    """The Miss of a match one of whose inner values is needed for itself."""
    count = len(value.uses())
    where = "is an output of the graph" if value.is_graph_output() else f"has {count} readers, not all of them in the pattern"
    return Miss(f"{what}: the inner value %{value.name} {where}", site_of(root))


def readers(value: onnx_ir.Value) -> str:
    """How often a value is read, as a phrase for a Miss."""
    if value.is_graph_output():
        return f"%{value.name} is also an output of the graph"
    return f"%{value.name} has {len(value.uses())} readers"


def constant_ints(value: onnx_ir.Value | None) -> tuple[int, ...] | None:
    """The elements of a small constant of integers (axes, a target shape), else None."""
    tensor = constant(value)
    if tensor is None or tensor.size > 64 or len(tensor.shape) > 1:
        return None
    return tuple(int(element) for element in tensor.numpy().reshape(-1))


def reduced_axes(node: onnx_ir.Node) -> tuple[int, ...] | None:
    """The constant axes of a reduction that keeps its dimensions, sorted; None otherwise."""
    if "keepdims" in node.attributes and node.attributes["keepdims"].as_int() != 1:
        return None
    if "axes" in node.attributes:
        return tuple(sorted(int(axis) for axis in node.attributes["axes"].as_ints()))
    axes = constant_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    return tuple(sorted(axes)) if axes else None


def last_axes(axes: Iterable[int], value: onnx_ir.Value) -> int | None:
    """The first axis, counted from the end (negative), if the axes are the last ones of a value; None otherwise."""
    found = tuple(axes)
    if any(axis >= 0 for axis in found):
        dims = rank(value)
        if dims is None:
            return None
        found = tuple(axis - dims if axis >= 0 else axis for axis in found)
    ordered = sorted(set(found))
    return ordered[0] if ordered == list(range(-len(ordered), 0)) else None


def dims_of(value: onnx_ir.Value | None) -> tuple[Dim, ...] | None:
    """A value's dimensions, those that came out of symbolic arithmetic as plain numbers (`SymbolicDim("12")`) made integers."""
    found = shape_of(value)
    return None if found is None else tuple(as_dim(dim) for dim in found)


def is_parameter(value: onnx_ir.Value | None) -> bool:
    """True of values that no node makes: initializers and graph inputs. They can be read anywhere in the graph."""
    return value is not None and (value.producer() is None or constant(value) is not None)
