"""Facts about operators that every pass needs: schemas, attributes, purity, families of operators, data types.

Facts about standard operators come from `onnx.defs`; those about `com.microsoft` operators from the closed table in
`netwright.ir.contrib`; those about netwright's own from `netwright.ir.operators`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import onnx
import onnx_ir
from onnx.defs import OpSchema

from netwright.ir.contrib import CONTRIB
from netwright.ir.errors import NetwrightError
from netwright.ir.operators import DOMAINS, operator_of
from netwright.ir.schemas import CONTRIB_DOMAIN, TYPE_DTYPES, AttributeFacts, DefaultValue, Formal, Schema

if TYPE_CHECKING:
    from onnx_ir import DataType

DataTypes = onnx_ir.DataType

# ---- families of operators (standard domain) ---------------------------------------------------------------------

NON_DETERMINISTIC: frozenset[str] = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators that draw random numbers: two of them are never one. `Dropout` in training mode is another (`is_random`)."""

COMMUTATIVE: frozenset[str] = frozenset(
    {"Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Max", "Mean", "Min", "Mul", "Or", "Sum", "Xor"}
)
"""Operators whose inputs may be swapped without changing a bit of the result (for two inputs)."""

ELEMENTWISE_UNARY: frozenset[str] = frozenset(
    [
        "Abs",
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "BitwiseNot",
        "Cast",
        "CastLike",
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "IsInf",
        "IsNaN",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Not",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
    ]
)
"""Operators that map each element of their first input on its own; further inputs, if any, are scalars."""

ELEMENTWISE_BINARY: frozenset[str] = frozenset(
    [
        "Add",
        "And",
        "BitShift",
        "BitwiseAnd",
        "BitwiseOr",
        "BitwiseXor",
        "Div",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Mod",
        "Mul",
        "Or",
        "PRelu",
        "Pow",
        "Sub",
        "Xor",
    ]
)
"""Operators of two inputs that broadcast against each other."""

ELEMENTWISE_VARIADIC: frozenset[str] = frozenset({"Max", "Mean", "Min", "Sum", "Where"})
"""Operators of other numbers of inputs that broadcast against each other."""

ELEMENTWISE: frozenset[str] = ELEMENTWISE_UNARY | ELEMENTWISE_BINARY | ELEMENTWISE_VARIADIC
"""All operators whose output element depends on one element of each (broadcast) input only."""

DATA_MOVEMENT: frozenset[str] = frozenset(
    [
        "Compress",
        "Concat",
        "CenterCropPad",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Pad",
        "Reshape",
        "ReverseSequence",
        "ScatterElements",
        "ScatterND",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Trilu",
        "Unsqueeze",
    ]
)
"""Operators that only move, repeat or drop elements."""

WITH_SUBGRAPHS: Mapping[str, tuple[str, ...]] = {
    "If": ("then_branch", "else_branch"),
    "Loop": ("body",),
    "Scan": ("body",),
    "SequenceMap": ("body",),
}
"""Standard operators that hold graphs, with the attributes that hold them."""

STANDARD_DOMAINS: frozenset[str] = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training"}
)
"""Domains whose operators onnx itself defines."""

# ---- data types ---------------------------------------------------------------------------------------------------

FLOATS: frozenset[DataType] = frozenset({DataTypes.FLOAT, DataTypes.DOUBLE, DataTypes.FLOAT16, DataTypes.BFLOAT16})
"""Floating-point types that models compute in."""

SMALL_FLOATS: frozenset[DataType] = frozenset(dtype for dtype in DataTypes if dtype.name.startswith(("FLOAT8", "FLOAT6", "FLOAT4")))
"""Floating-point types that only store."""

SIGNED_INTEGERS: frozenset[DataType] = frozenset(dtype for dtype in DataTypes if dtype.name.startswith("INT"))
UNSIGNED_INTEGERS: frozenset[DataType] = frozenset(dtype for dtype in DataTypes if dtype.name.startswith("UINT"))
INTEGERS: frozenset[DataType] = SIGNED_INTEGERS | UNSIGNED_INTEGERS


def is_float(dtype: DataType | None) -> bool:
    """True of f16, bf16, f32 and f64."""
    return dtype in FLOATS


def is_integer(dtype: DataType | None) -> bool:
    """True of signed and unsigned integers of 2 to 64 bits (not of bool)."""
    return dtype in INTEGERS


def bits_of(dtype: DataType | None) -> int:
    """Bits that one element takes (0 where that is not fixed: strings, unknown types)."""
    return 0 if dtype is None or dtype in (DataTypes.STRING, DataTypes.UNDEFINED) else round(dtype.itemsize * 8)


# ---- schemas ------------------------------------------------------------------------------------------------------


def schema(node: onnx_ir.Node, opset: int) -> Schema | None:
    """The schema that a node obeys, or None where none is known (custom domains, model-local functions).

    Args:
        node: the node; its own version, where it states one, wins over `opset`.
        opset: version of the node's domain that the graph imports.
    """
    return schema_of(node.domain, node.op_type, node.version or opset)


@lru_cache(maxsize=4096)
def schema_of(domain: str, op_type: str, opset: int) -> Schema | None:
    """The schema of an operator at an opset version, or None where none is known."""
    if domain == CONTRIB_DOMAIN:
        return CONTRIB.get(op_type)
    if domain in DOMAINS:
        own = operator_of(domain, op_type)
        return own.schema if own is not None else None
    domain = "" if domain == "ai.onnx" else domain
    if domain not in STANDARD_DOMAINS:
        return None
    try:
        found = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return None
    return _from_onnx(found)


@lru_cache(maxsize=1)
def operators() -> Mapping[tuple[str, str], int]:
    """All standard operators, `(domain, name)`, with the newest version in which each changed."""
    return {(found.domain, found.name): found.since_version for found in onnx.defs.get_all_schemas()}


def _from_onnx(found: OpSchema) -> Schema:
    allowed = {constraint.type_param_str: frozenset(constraint.allowed_type_strs) for constraint in found.type_constraints}
    return Schema(
        domain=found.domain,
        name=found.name,
        since_version=found.since_version,
        inputs=tuple(_formal(formal, allowed) for formal in found.inputs),
        outputs=tuple(_formal(formal, allowed) for formal in found.outputs),
        attributes={name: _attribute_facts(attribute) for name, attribute in found.attributes.items()},
        min_inputs=found.min_input,
        max_inputs=found.max_input,
        min_outputs=found.min_output,
        max_outputs=found.max_output,
        deprecated=found.deprecated,
        is_function=bool(getattr(found, "has_function", False) or getattr(found, "has_context_dependent_function", False)),
    )


def _formal(formal: OpSchema.FormalParameter, allowed: Mapping[str, frozenset[str]]) -> Formal:
    types = allowed.get(formal.type_str, frozenset({formal.type_str}))
    return Formal(
        name=formal.name,
        optional=formal.option == OpSchema.FormalParameterOption.Optional,
        variadic=formal.option == OpSchema.FormalParameterOption.Variadic,
        homogeneous=formal.is_homogeneous,
        min_arity=formal.min_arity,
        type_var=formal.type_str,
        types=types,
        dtypes=frozenset(TYPE_DTYPES[text] for text in types if text in TYPE_DTYPES),
    )


def _attribute_facts(attribute: OpSchema.Attribute) -> AttributeFacts:
    kind = onnx_ir.AttributeType[str(attribute.type).rpartition(".")[2]]
    default = attribute.default_value
    return AttributeFacts(attribute.name, kind, attribute.required, _default_of(default) if default.type else None)


def _default_of(default: onnx.AttributeProto) -> DefaultValue:
    readers = {
        onnx.AttributeProto.INT: lambda: default.i,
        onnx.AttributeProto.FLOAT: lambda: default.f,
        onnx.AttributeProto.STRING: lambda: default.s.decode(),
        onnx.AttributeProto.INTS: lambda: tuple(default.ints),
        onnx.AttributeProto.FLOATS: lambda: tuple(default.floats),
        onnx.AttributeProto.STRINGS: lambda: tuple(text.decode() for text in default.strings),
    }
    reader = readers.get(default.type)
    return reader() if reader else None


# ---- attributes ---------------------------------------------------------------------------------------------------


class ReferencedAttributeError(NetwrightError):
    """An attribute in a function's body refers to one of the function's own, and so has no value yet."""


def has_references(node: onnx_ir.Node) -> bool:
    """True in function bodies where an attribute's value comes from the caller; such nodes cannot be rewritten alone."""
    return bool(node.attributes) and any(attribute.is_ref() for attribute in node.attributes.values())


def attribute(node: onnx_ir.Node, name: str) -> onnx_ir.Attr | None:
    """A node's attribute that has a value of its own, or None where it is not given.

    Raises:
        ReferencedAttributeError: its value comes from the caller of the function that the node is in.
    """
    found = node.attributes.get(name)
    if found is None or not found.is_ref():
        return found
    raise ReferencedAttributeError(
        f"attribute {name!r} refers to the function's {found.ref_attr_name!r} and has no value here",
        place=site(node),
        remedy="Inline the model's functions first.",
    )


def int_attr(node: onnx_ir.Node, name: str, default: int) -> int:
    """An integer attribute, or `default` where it is not given."""
    found = attribute(node, name)
    return default if found is None else int(found.as_int())


def float_attr(node: onnx_ir.Node, name: str, default: float) -> float:
    """A float attribute, or `default` where it is not given."""
    found = attribute(node, name)
    return default if found is None else float(found.as_float())


def str_attr(node: onnx_ir.Node, name: str, default: str) -> str:
    """A string attribute, or `default` where it is not given."""
    found = attribute(node, name)
    return default if found is None else found.as_string()


def ints_attr(node: onnx_ir.Node, name: str, default: Collection[int] = ()) -> tuple[int, ...]:
    """An attribute of integers, or `default` where it is not given."""
    found = attribute(node, name)
    return tuple(default) if found is None else tuple(int(i) for i in found.as_ints())


def floats_attr(node: onnx_ir.Node, name: str, default: Collection[float] = ()) -> tuple[float, ...]:
    """An attribute of floats, or `default` where it is not given."""
    found = attribute(node, name)
    return tuple(default) if found is None else tuple(float(x) for x in found.as_floats())


def strs_attr(node: onnx_ir.Node, name: str, default: Collection[str] = ()) -> tuple[str, ...]:
    """An attribute of strings, or `default` where it is not given."""
    found = attribute(node, name)
    return tuple(default) if found is None else tuple(found.as_strings())


def default_of(node: onnx_ir.Node, name: str, opset: int) -> DefaultValue:
    """What the standard says an attribute is when a node does not give it; None where the standard says nothing."""
    known = schema(node, opset)
    facts = known.attributes.get(name) if known else None
    return facts.default if facts else None


# ---- nodes --------------------------------------------------------------------------------------------------------


def site(node: onnx_ir.Node) -> str:
    """The name by which reports call a node: that of its first named output (the node's own where it has none)."""
    for value in node.outputs:
        if value.name:
            return value.name
    return node.name or node.op_type


def is_standard(node: onnx_ir.Node, *op_types: str) -> bool:
    """True of nodes of the standard domain; of the given operators only, where given."""
    return node.domain in ("", "ai.onnx") and (not op_types or node.op_type in op_types)


def subgraphs(node: onnx_ir.Node) -> tuple[tuple[str, onnx_ir.Graph], ...]:
    """The graphs that a node holds, with the names of the attributes that hold them."""
    if not node.attributes:
        return ()
    held = [(name, found) for name, found in node.attributes.data.items() if found.type in _GRAPH_TYPES and not found.is_ref()]
    return tuple(_graphs_of(held)) if held else ()


_GRAPH_TYPES = (onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS)


def _graphs_of(held: Iterable[tuple[str, onnx_ir.Attr]]) -> Iterator[tuple[str, onnx_ir.Graph]]:
    for name, found in held:
        if found.type == onnx_ir.AttributeType.GRAPH:
            yield name, found.as_graph()
            continue
        yield from ((f"{name}[{index}]", graph) for index, graph in enumerate(found.as_graphs()))


def is_random(node: onnx_ir.Node) -> bool:
    """True of nodes that draw random numbers themselves: the operators of `NON_DETERMINISTIC`, and Dropout in training mode.

    Dropout counts as training unless its `training_mode` is absent or a constant False.
    """
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type in NON_DETERMINISTIC:
        return True
    if node.op_type != "Dropout" or len(node.inputs) < 3 or node.inputs[2] is None:
        return False
    mode = onnx_ir.convenience.get_const_tensor(node.inputs[2])
    return mode is None or bool(mode.numpy())


def is_pure(node: onnx_ir.Node, functions: Mapping[tuple[str, str, str], onnx_ir.Function] | None = None) -> bool:
    """True of nodes that give the same outputs for the same inputs every time, and so may be merged or folded.

    Nodes with subgraphs are pure if all nodes inside are; calls of model-local functions likewise. Operators without a
    known schema are not taken to be pure.

    Args:
        node: the node.
        functions: the model's functions (`program.model.functions`), without which their calls count as impure.
    """
    if is_random(node):
        return False
    body = functions.get(node.op_identifier()) if functions else None
    if body is not None:
        return all(is_pure(inner, functions) for inner in body)
    if node.domain in DOMAINS:
        return operator_of(node.domain, node.op_type) is not None
    if node.domain not in STANDARD_DOMAINS and node.domain != CONTRIB_DOMAIN:
        return False
    return all(is_pure(inner, functions) for _, graph in subgraphs(node) for inner in graph)
