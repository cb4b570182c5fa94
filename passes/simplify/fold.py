"""Constant folding: nodes whose inputs never change, within bounds of size, and never untying weights."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor, reader_count
from netwright.ir.opinfo import is_float, is_pure, is_standard
from netwright.ir.program import Program, constant
from netwright.ir.shapes import static_shape
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import rule
from netwright.passes.simplify.evaluate import EvaluationError, evaluate, in_table
from netwright.passes.simplify.facts import bytes_of
from netwright.passes.simplify.folded_maps import folded_map

FREE_BYTES = 1 << 14
"""Results up to this size are always folded."""

LAZY_BYTES = 1 << 16
"""Results above this size are not computed before they are read or saved, so that two never lie in memory together."""

_MOST_PARTS = 16
"""A weight with more readers than this is not taken to be cut into parts."""

_KEEP = frozenset(
    {"DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear", "Constant", "If", "Loop", "Scan", "Identity", "SequenceMap"}
)
"""Never folded: quantized constants would grow back, graphs inside graphs have rules of their own."""


@rule()
def fold_constants(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """Replace a node by its result."""
    for value in node.inputs:
        if value is not None and (value.const_value is None or value.is_graph_input()) and constant(value) is None:
            return None
    if not node.inputs or node.op_type in _KEEP or not is_standard(node) or not is_pure(node):
        return None
    if any(value.is_graph_output() for value in node.outputs):
        return Miss("a constant graph output: an initializer cannot be one", site_of(node))
    if node.op_type == "Constant" or any(_is_text(value) for value in (*node.inputs, *node.outputs)):
        return None
    refusal = _refusal(node, program)
    if refusal:
        return Miss(refusal, site_of(node))
    return _lazy(node, program) or _now(node, program)


def _is_text(value: onnx_ir.Value | None) -> bool:
    return value is not None and value.dtype == onnx_ir.DataType.STRING


def _refusal(node: onnx_ir.Node, program: Program) -> str:
    """Why a node should not be folded, else nothing."""
    weights = [
        value
        for value in node.inputs
        if value is not None and is_float(value.dtype) and len(shape_of(value) or ()) > 0 and _elements(value) > 1
    ]
    if weights and "Trainable" in program.properties and not _goes_back(node):
        return f"%{weights[0].name} is a parameter of a trainable program, and {node.op_type} has no way back"
    for value in weights:
        readers = reader_count(value)
        if readers > 1 and len(shape_of(value) or ()) > 1 and 2 * _elements(node.outputs[0]) >= _elements(value):
            return f"weight %{value.name} has {readers} readers: folding {node.op_type} would untie it"
    sizes = [bytes_of(value) for value in node.outputs]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return "" if _input_bytes(node) <= FREE_BYTES else "the size of the result is unknown"
    total, freed = sum(known), sum(_freed(value, sum(known)) for value in node.inputs if value is not None)
    if total > FREE_BYTES and total > freed:
        return f"the result of {total} bytes would take the place of {freed} bytes of constants (limit {FREE_BYTES})"
    return ""


def _freed(value: onnx_ir.Value, taken: int) -> int:
    """Bytes of a constant that go when a node that makes `taken` bytes of it is folded.

    All of them for its only reader. Where all readers are constant too (torch cuts an LSTM's weight into gates and joins them in another
    order), each frees its share.
    """
    held = bytes_of(value) or 0
    if reader_count(value) == 1:
        return held
    if reader_count(value) > _MOST_PARTS or value.is_graph_output():
        return 0
    readers = {user for user, _ in value.uses()}
    if not all(_is_constant(reader) for reader in readers):
        return 0
    made = sum(bytes_of(out) or held for reader in readers for out in reader.outputs)
    return held * taken // made if made else 0


def _is_constant(node: onnx_ir.Node) -> bool:
    foldable = node.op_type not in _KEEP and is_standard(node) and is_pure(node)
    return foldable and all(value is None or constant(value) is not None for value in node.inputs)


def _goes_back(node: onnx_ir.Node) -> bool:
    mapped = folded_map(node)
    return mapped is not None and (mapped.map.arity > 1 or mapped.map.inverse() is not None)


def _elements(value: onnx_ir.Value) -> int:
    return prod(static_shape(value) or (2,))


def _input_bytes(node: onnx_ir.Node) -> int:
    return sum(bytes_of(value) or 0 for value in node.inputs if value is not None)


def _tensors(node: onnx_ir.Node) -> list[onnx_ir.TensorProtocol | None]:
    return [constant(value) for value in node.inputs]


def _lazy(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Large results of the table's operators: computed when read or saved."""
    out = node.outputs[0]
    shape, size = static_shape(out), bytes_of(out)
    if shape is None or size is None or size <= LAZY_BYTES or out.dtype is None or in_table(node) is None:
        return None
    tensors, opset, dtype = _tensors(node), program.opset, out.dtype

    def compute() -> onnx_ir.TensorProtocol:
        arrays = [None if tensor is None else tensor.numpy() for tensor in tensors]
        return onnx_ir.tensor(evaluate(node, arrays, opset)[0], dtype=dtype)

    lazy = onnx_ir.LazyTensor(compute, dtype=dtype, shape=onnx_ir.Shape(shape))
    return _replace(node, lambda editor: [editor.constant(lazy, out.name or "folded")])


def _now(node: onnx_ir.Node, program: Program) -> Rewrite | Miss:
    tensors = _tensors(node)
    try:
        results = evaluate(node, [None if tensor is None else tensor.numpy() for tensor in tensors], program.opset)
    except EvaluationError as error:
        return Miss(error.message, site_of(node))
    if sum(result.nbytes for result in results) > max(FREE_BYTES, _input_bytes(node)):
        return Miss(f"the result has {sum(result.nbytes for result in results)} bytes (limit {FREE_BYTES})", site_of(node))
    named = [value for value in node.outputs if value.name]
    if any(value.dtype is not None and value.dtype != onnx_ir.Tensor(result).dtype for value, result in zip(named, results, strict=True)):
        return Miss("the evaluator gives another type than is inferred", site_of(node))

    def make(editor: Editor) -> list[onnx_ir.Value]:
        return [editor.constant(result, value.name or "folded") for value, result in zip(named, results, strict=True)]

    return _replace(node, make)


def _replace(node: onnx_ir.Node, make: Callable[[Editor], list[onnx_ir.Value]]) -> Rewrite:
    named = [value for value in node.outputs if value.name]
    sources = [value for value in node.inputs if value is not None]

    def change(editor: Editor) -> None:
        for old, new in zip(named, make(editor), strict=True):
            _record(editor, node, old, new)
            editor.replace(old, new)

    shown = ", ".join(f"%{value.name}" for value in sources[:3])
    return Rewrite.edit(site_of(node), f"{node.op_type} of constants {shown}", change, anchor=node)


def _record(editor: Editor, node: onnx_ir.Node, old: onnx_ir.Value, new: onnx_ir.Value) -> None:
    """Record how a folded parameter comes from the parameter before; it takes over that one's metadata."""
    mapped = folded_map(node)
    if mapped is None or not old.name:
        return
    editor.map(old.name, mapped)
    source = next((constant(value) for value in node.inputs if value is not None and (value.name,) == mapped.sources), None)
    if source is not None and new.const_value is not None:
        new.const_value.metadata_props.update(source.metadata_props)


RULES = (fold_constants,)
