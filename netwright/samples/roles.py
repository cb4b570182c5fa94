"""What each input is for, read off the graph: an index into a table, a mask, a length, a state.

An input is followed forward through operators that hand its elements on, into branches, loops and functions, to the operators
that use it. What they ask of it is its role.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_ir
from onnx_ir.passes.common import InlinePass

from netwright.ir.opinfo import int_attr, is_float, is_integer, subgraphs
from netwright.ir.program import Program, array

Kind = Literal["index", "position", "mask", "length", "switch", "state", "positive", "plain"]


@dataclass(frozen=True, slots=True)
class Role:
    """What an input is for.

    Attributes:
        kind: `index`: rows of tables, below `rows`; `position`: the same, counted up; `mask`: ones; `length`: a size, a count;
            `switch`: compared with `value`; `state`: what a recurrent operator starts from; `positive`: goes into a logarithm or
            root; `plain`: anything.
        rows: exclusive upper bound of an index, where known.
        value: what a switch is compared with.
    """

    kind: Kind
    rows: int | None = None
    value: int | float | None = None


_MASK_NAME = re.compile(r"mask", re.IGNORECASE)
_POSITION_NAME = re.compile(r"pos(ition)?s?(_?ids?)?$", re.IGNORECASE)
_MOST_VALUES = 5000
"""How far an input is followed."""

_FIRST = (0,)
_PASSED_ON: Mapping[str, Sequence[int] | None] = {
    "Cast": _FIRST,
    "Clip": _FIRST,
    "Concat": None,
    "Expand": _FIRST,
    "Flatten": _FIRST,
    "Gather": _FIRST,
    "Identity": None,
    "Mod": _FIRST,
    "Reshape": _FIRST,
    "Slice": _FIRST,
    "Split": _FIRST,
    "Squeeze": _FIRST,
    "Tile": _FIRST,
    "Transpose": _FIRST,
    "Unsqueeze": _FIRST,
    "Where": (1, 2),
}
"""Operators that hand elements on unchanged, and from which inputs; None: all."""

_TABLES: Mapping[tuple[str, str], Mapping[int, tuple[int, int | str]]] = {
    ("", "Gather"): {1: (0, "axis")},
    ("", "GatherElements"): {1: (0, "axis")},
    ("", "GatherND"): {1: (0, 0)},
    ("", "ScatterElements"): {1: (0, "axis")},
    ("", "ScatterND"): {1: (0, 0)},
    ("", "RotaryEmbedding"): {3: (1, 0)},
    ("com.microsoft", "RotaryEmbedding"): {1: (2, 0)},
    ("com.microsoft", "GatherBlockQuantized"): {1: (0, "gather_axis")},
    ("com.microsoft", "EmbedLayerNormalization"): {0: (2, 0), 1: (4, 0)},
}
"""Operators that look up: for the input with indices, which input is the table and which of its axes is indexed (or the attribute
that says so)."""

_LENGTHS: Mapping[str, Sequence[int] | None] = {
    "ConstantOfShape": None,
    "DynamicQuantizeLSTM": (4,),
    "Expand": (1,),
    "GRU": (4,),
    "LSTM": (4,),
    "Loop": _FIRST,
    "RNN": (4,),
    "Range": None,
    "Reshape": (1,),
    "Resize": (3,),
    "Slice": (1, 2, 3, 4),
    "Tile": (1,),
    "TopK": (1,),
}
_STATES: Mapping[str, Sequence[int]] = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,), "DynamicQuantizeLSTM": (5, 6)}
_POSITIVE: Mapping[str, Sequence[int]] = {"Log": _FIRST, "Sqrt": _FIRST}
_COMPARED = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_MASKING: Mapping[str, Sequence[int] | None] = {"Where": _FIRST, "And": None, "Or": None, "Not": None, "If": _FIRST}


def roles(program: Program) -> dict[str, Role]:
    """The role of each input, by name. Linear in what the inputs reach through operators that hand elements on."""
    flat = _without_functions(program)
    owners = _owners(flat)
    return {value.name or "": _role(value, owners) for value in flat.graph.inputs}


def _without_functions(program: Program) -> Program:
    if not program.model.functions:
        return program
    copy = program.clone()
    InlinePass()(copy.model)
    return copy


Owners = Mapping[onnx_ir.Graph, onnx_ir.Node]


def _owners(program: Program) -> dict[onnx_ir.Graph, onnx_ir.Node]:
    """The node that each subgraph belongs to."""
    return {graph: node for node in program.nodes() for _, graph in subgraphs(node)}


def _role(value: onnx_ir.Value, owners: Owners) -> Role:
    name = value.name or ""
    uses = list(_uses(value, owners))
    if _MASK_NAME.search(name):
        return Role("mask")
    if is_float(value.dtype):
        return next((Role(kind) for kind in ("state", "positive") if any(use.kind == kind for use in uses)), Role("plain"))
    rows = [use.rows for use in uses if use.kind == "index"]
    if is_integer(value.dtype) and rows:
        known = [count for count in rows if count is not None]
        return Role("position" if _POSITION_NAME.search(name) else "index", min(known) if known else None)
    if is_integer(value.dtype) and any(use.kind == "length" for use in uses):
        return Role("length")
    switch = next((use for use in uses if use.kind == "switch"), None)
    if switch is not None and _is_single(value):
        return Role("switch", value=switch.value)
    if any(use.kind in ("mask", "switch") for use in uses):
        return Role("mask")
    return Role("plain")


def _is_single(value: onnx_ir.Value) -> bool:
    return value.shape is not None and all(size == 1 for size in value.shape)


def _uses(start: onnx_ir.Value, owners: Owners) -> Iterator[Role]:
    """What the operators that an input reaches ask of it. An offset added on the way narrows the rows."""
    seen = {start}
    pending = [(start, 0)]
    while pending and len(seen) < _MOST_VALUES:
        value, offset = pending.pop()
        onward = [(made, 0) for made in _returned_as(value, owners)]
        for use in value.uses():
            yield from _asked(use.node, use.idx, offset)
            onward.extend(_handed_on(use.node, use.idx))
        for reached, shift in onward:
            if reached not in seen:
                seen.add(reached)
                pending.append((reached, offset + shift))


def _returned_as(value: onnx_ir.Value, owners: Owners) -> Iterator[onnx_ir.Value]:
    """The outputs of the If, Loop or Scan that a value leaves a subgraph by."""
    graph = value.graph
    if not value.is_graph_output() or graph is None or graph not in owners:
        return
    node = owners[graph]
    first = 1 if node.op_type == "Loop" else 0
    for position, result in enumerate(graph.outputs):
        if result is value and 0 <= position - first < len(node.outputs):
            yield node.outputs[position - first]


def _handed_on(node: onnx_ir.Node, position: int) -> Iterator[tuple[onnx_ir.Value, int]]:
    """The values that carry the input's elements on, and what was added to them."""
    if node.domain:
        return
    if node.op_type in _PASSED_ON and _at(_PASSED_ON[node.op_type], position):
        yield from ((made, 0) for made in node.outputs)
    if node.op_type in ("Add", "Sub") and (shift := _shift(node, position)) is not None:
        yield node.outputs[0], shift
    if node.op_type in ("Loop", "Scan"):
        for _, body in subgraphs(node):
            if position < len(body.inputs) and (node.op_type == "Scan" or position > 1):
                yield body.inputs[position], 0


def _shift(node: onnx_ir.Node, position: int) -> int | None:
    """The integer constant added; None for anything else."""
    if node.op_type == "Sub" and position != 0:
        return None
    found = array(node.inputs[1 - position], limit=1)
    if found is None or found.size != 1 or found.dtype.kind not in "iu":
        return None
    return int(found.item()) if node.op_type == "Add" else -int(found.item())


def _asked(node: onnx_ir.Node, position: int, offset: int) -> Iterator[Role]:
    table = _TABLES.get((node.domain, node.op_type), {}).get(position)
    if table is not None:
        rows = _rows(node, *table)
        yield Role("index", None if rows is None else max(1, rows - max(0, offset)))
    if (node.domain, node.op_type, position) == ("", "OneHot", 0):
        depth = array(node.inputs[1], limit=1)
        yield Role("index", None if depth is None else int(depth.item()))
    if node.op_type in _LENGTHS and _at(_LENGTHS[node.op_type], position):
        yield Role("length")
    if position in _STATES.get(node.op_type, ()):
        yield Role("state")
    if position in _POSITIVE.get(node.op_type, ()):
        yield Role("positive")
    if node.op_type in _COMPARED and len(node.inputs) > 1:
        other = array(node.inputs[1 - position], limit=1)
        if other is not None and other.size == 1:
            yield Role("switch", value=other.item())
    if node.op_type in _MASKING and _at(_MASKING[node.op_type], position):
        yield Role("mask")
    if node.op_type == "Sub" and position == 1 and _is_one(node.inputs[0]):
        yield Role("mask")


def _is_one(value: onnx_ir.Value | None) -> bool:
    """True for the constant 1 of `(1 - mask) * -10000`."""
    found = array(value, limit=1)
    return found is not None and found.size == 1 and found.item() == 1


def _rows(node: onnx_ir.Node, table: int, axis: int | str) -> int | None:
    """How many rows the table of a look-up has; None where dynamic."""
    data = node.inputs[table] if table < len(node.inputs) else None
    if data is None or data.shape is None or not len(data.shape):
        return None
    at = int_attr(node, axis, 0) if isinstance(axis, str) else axis
    size = data.shape[at]
    return size if isinstance(size, int) else None


def _at(positions: Sequence[int] | None, position: int) -> bool:
    return positions is None or position in positions
