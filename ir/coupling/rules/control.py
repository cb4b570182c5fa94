"""Operators that hold graphs: what is captured, carried and given back is tied pairwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.coupling.axes import ONE, Axis, Fixed
from netwright.ir.coupling.rules.table import NoRule, resting, rule, where
from netwright.ir.coupling.walk import dims_of
from netwright.ir.dims import shape_of
from netwright.ir.opinfo import int_attr, ints_attr, subgraphs
from netwright.ir.program import constant

if TYPE_CHECKING:
    from netwright.ir.coupling.walk import Walk


@rule("If")
def if_(walk: Walk, node: onnx_ir.Node) -> None:
    """Both branches give the same."""
    bodies = [body for _, body in subgraphs(node)]
    for body in bodies:
        walk.graph(body)
    for index, output in enumerate(node.outputs):
        results = [_result(walk, body.outputs[index], node) for body in bodies]
        if len({len(axes) for axes in results}) == 1:
            walk.set(output, [walk.join(column) for column in zip(*results, strict=True)])
            continue
        for axes in results:
            walk.freeze(axes, f"the branches of {where(node)} differ")
        walk.set(output, walk.fixed(output, f"the branches of {where(node)} differ"))


@rule("Loop")
def loop(walk: Walk, node: onnx_ir.Node) -> None:
    """Inputs: rounds, condition, what is carried. A body's outputs: condition, what is carried, what is collected."""
    body = subgraphs(node)[0][1]
    _check_ranks(node)
    carried = [value for value in node.inputs[2:] if value is not None]
    if len(carried) != len(node.inputs) - 2:
        raise NoRule("an input is left out")
    for formal in body.inputs[:2]:
        walk.set(formal, [resting(dim) for dim in dims_of(formal)])
    _repeat(walk, node, body, list(body.inputs[2:]), carried, list(body.outputs[1 : 1 + len(carried)]), node.outputs[: len(carried)])
    for output, inner in zip(node.outputs[len(carried) :], body.outputs[1 + len(carried) :], strict=True):
        walk.set(output, [resting(dims_of(output)[0]), *_result(walk, inner, node)])


@rule("Scan")
def scan(walk: Walk, node: onnx_ir.Node) -> None:
    """Inputs: states, then sequences, of which the body sees one slice a round."""
    body = subgraphs(node)[0][1]
    _check_ranks(node)
    count = int_attr(node, "num_scan_inputs", 1)
    values = [value for value in node.inputs if value is not None]
    if len(values) != len(node.inputs):
        raise NoRule("an input is left out")
    states = len(values) - count
    for number, (value, formal) in enumerate(zip(values[states:], body.inputs[states:], strict=True)):
        axes = list(walk.axes(value, node))
        at = _axis_of(ints_attr(node, "scan_input_axes"), number, len(axes))
        walk.freeze(axes[at], f"{where(node)} goes along it")
        walk.set(formal, [*axes[:at], *axes[at + 1 :]])
    _repeat(walk, node, body, list(body.inputs[:states]), values[:states], list(body.outputs[:states]), node.outputs[:states])
    for number, (output, inner) in enumerate(zip(node.outputs[states:], body.outputs[states:], strict=True)):
        axes = list(_result(walk, inner, node))
        at = _axis_of(ints_attr(node, "scan_output_axes"), number, len(axes) + 1)
        axes.insert(at, resting(dims_of(output)[at]))
        walk.set(output, axes)


def _check_ranks(node: onnx_ir.Node) -> None:
    """A loop's rule counts axes, and so needs their number."""
    if any(shape_of(value) is None for value in (*node.inputs, *node.outputs) if value is not None):
        raise NoRule("the shapes around it are not known")


def _axis_of(listed: Sequence[int], number: int, rank: int) -> int:
    return listed[number] % rank if number < len(listed) else 0


def _repeat(
    walk: Walk,
    node: onnx_ir.Node,
    body: onnx_ir.Graph,
    formals: Sequence[onnx_ir.Value],
    firsts: Sequence[onnx_ir.Value],
    lasts: Sequence[onnx_ir.Value],
    outputs: Sequence[onnx_ir.Value],
) -> None:
    """Walk over a body whose carried values come in, go round and come out."""
    for formal, first in zip(formals, firsts, strict=True):
        walk.set(formal, walk.axes(first, node))
    walk.graph(body)
    for formal, last, output in zip(formals, lasts, outputs, strict=True):
        before, after = walk.values[formal], _result(walk, last, node)
        if len(before) == len(after):
            walk.set(output, [_carried(walk, node, pair) for pair in zip(before, after, strict=True)])
            continue
        walk.freeze((*before, *after), f"{where(node)} changes its rank")
        walk.set(output, walk.fixed(output, f"{where(node)} changes its rank"))


def _carried(walk: Walk, node: onnx_ir.Node, pair: tuple[Axis, Axis]) -> Axis:
    """An axis of what goes round; one that is 1 at first and more later is fixed."""
    if (pair[0] is ONE) != (pair[1] is ONE):
        walk.freeze(pair, f"{where(node)} changes its size")
        return Fixed(f"{where(node)} changes its size")
    return walk.join(pair)


def _result(walk: Walk, value: onnx_ir.Value, node: onnx_ir.Node) -> tuple[Axis, ...]:
    """The axes of what a body gives back, be it computed, captured or constant."""
    if value in walk.values or constant(value) is not None:
        return walk.axes(value, node)
    return walk.fixed(value, f"%{value.name} comes from elsewhere")
