"""What operators are for a vector unit, and which it cannot run: two tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import TypeAlias

import onnx_ir

from netwright.backends.cim.program.model import Work
from netwright.ir.cost.macs import macs
from netwright.ir.opinfo import ints_attr, is_random, subgraphs
from netwright.ir.program import constant
from netwright.ir.shapes import static_shape

HOSTED = "netwright.cim.host"
"""Metadata of a node that the host runs: why."""
Rule: TypeAlias = Callable[[onnx_ir.Node], Work]


def work_of(nodes: Iterable[onnx_ir.Node], edge: Callable[[onnx_ir.Node], bool]) -> Work:
    """The work of several nodes, of one sample.

    Args:
        nodes: of one region.
        edge: whether a node reads or writes nothing but the region's own inputs or outputs: a Transpose there costs nothing, since
            the unit reads and writes with strides anyway.
    """
    total = Work()
    for node in nodes:
        if node.op_type == "Transpose" and edge(node):
            continue
        one = work(node)
        total = Work(total.elements + one.elements, total.macs + one.macs, total.special + one.special, total.moved + one.moved)
    return total


def work(node: onnx_ir.Node) -> Work:
    """The work of one node, of static shapes."""
    products = macs(node)
    if products.known and products.terms:
        return Work(macs=sum(products.terms.values()))
    rule = WORK.get(node.op_type)
    return rule(node) if rule is not None else Work(elements=_made(node))


def why_host(node: onnx_ir.Node) -> str:
    """Why a vector unit cannot run a node, or why it shall not (`HOSTED`); empty where it can."""
    if HOSTED in node.metadata_props:
        return node.metadata_props[HOSTED]
    reason = HOST.get(node.op_type)
    if reason is not None:
        return f"{node.op_type} {reason}"
    if subgraphs(node):
        return f"{node.op_type} holds graphs that run a number of times that only the data decide"
    if is_random(node):
        return f"{node.op_type} draws random numbers"
    for value in (*node.inputs, *node.outputs):
        if value is None or (value.name == "" and not value.uses()):
            continue
        if value.dtype == onnx_ir.DataType.STRING:
            return f"{node.op_type} handles strings (%{value.name})"
        if not isinstance(value.type, onnx_ir.TensorType) and constant(value) is None:
            return f"{node.op_type} handles %{value.name}, which is no plain tensor of known type"
        if static_shape(value) is None and constant(value) is None:
            return f"the shape of %{value.name} is not known before the model runs"
    return ""


# ---- rules -------------------------------------------------------------------------------------------------------------


def _made(node: onnx_ir.Node) -> int:
    return sum(prod(static_shape(value) or ()) for value in node.outputs if value.name)


def _taken(node: onnx_ir.Node) -> int:
    return prod(static_shape(node.inputs[0]) or ())


def _bytes(node: onnx_ir.Node) -> int:
    return sum(
        -(-prod(static_shape(value) or ()) * (value.dtype.bitwidth if value.dtype else 8) // 8) for value in node.outputs if value.name
    )


def _nothing(node: onnx_ir.Node) -> Work:
    return Work()


def _moved(node: onnx_ir.Node) -> Work:
    return Work(moved=_bytes(node))


def _special(node: onnx_ir.Node) -> Work:
    return Work(special=_made(node))


def _reduced(node: onnx_ir.Node) -> Work:
    return Work(elements=_taken(node))


def _rooted(node: onnx_ir.Node) -> Work:
    return Work(elements=2 * _taken(node), special=_made(node))


def _pooled(node: onnx_ir.Node) -> Work:
    return Work(elements=_made(node) * prod(ints_attr(node, "kernel_shape")))


def _softmax(node: onnx_ir.Node) -> Work:
    """Largest, subtraction, sum, scaling; one exp an element, one division a row."""
    size = _made(node)
    shape = static_shape(node.outputs[0]) or (1,)
    return Work(elements=4 * size, special=size + size // max(1, shape[-1]))


def _normalized(node: onnx_ir.Node) -> Work:
    """Mean, subtraction, square, scale, shift; one root and one division a row."""
    size = prod(static_shape(node.outputs[0]) or ())
    shape = static_shape(node.outputs[0]) or (1,)
    return Work(elements=6 * size, special=2 * (size // max(1, shape[-1])))


def _resized(node: onnx_ir.Node) -> Work:
    return Work(elements=4 * _made(node), moved=_bytes(node))


_SPECIAL = (
    *(
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Celu",
        "Cos",
        "Cosh",
        "Div",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "Log",
        "Mish",
        "Mod",
        "Pow",
    ),
    *("Reciprocal", "Selu", "Sigmoid", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh"),
)
_VIEWS = ("Constant", "Dropout", "Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze")
_MOVES = (
    *(
        "CenterCropPad",
        "Compress",
        "Concat",
        "ConstantOfShape",
        "DepthToSpace",
        "Expand",
        "Gather",
        "GatherElements",
        "GatherND",
        "Pad",
        "Range",
    ),
    *(
        "ReverseSequence",
        "Scatter",
        "ScatterElements",
        "ScatterND",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Tile",
        "Transpose",
        "Trilu",
        "EyeLike",
    ),
)
_SUMS = (
    "ArgMax",
    "ArgMin",
    "CumSum",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
)

WORK: Mapping[str, Rule] = {
    **dict.fromkeys(_SPECIAL, _special),
    **dict.fromkeys(_VIEWS, _nothing),
    **dict.fromkeys(_MOVES, _moved),
    **dict.fromkeys(_SUMS, _reduced),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"), _rooted),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pooled),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _softmax),
    **dict.fromkeys(
        ("LayerNormalization", "RMSNormalization", "GroupNormalization", "InstanceNormalization", "SkipLayerNormalization"), _normalized
    ),
    "Resize": _resized,
}
"""Operator → its work where it multiplies no matrices; operators without a row are simple operations on each element that they make."""

_DATA_DEPENDENT = "makes results whose size only the data decide"
HOST: Mapping[str, str] = {
    **dict.fromkeys(("NonZero", "Unique", "NonMaxSuppression", "Compress"), _DATA_DEPENDENT),
    **dict.fromkeys(("StringNormalizer", "StringConcat", "StringSplit", "RegexFullMatch", "TfIdfVectorizer"), "handles strings"),
    **dict.fromkeys(("Optional", "OptionalGetElement", "OptionalHasElement"), "handles optional values"),
    **dict.fromkeys(
        ("ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength"),
        "handles sequences",
    ),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "keeps a state from step to step (the pass `unroll` writes its steps out as products)"),
}
"""Operator → why a vector unit cannot run it."""
