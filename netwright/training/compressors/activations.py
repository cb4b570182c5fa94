"""Activations of 8 bits, quantized as they come: DynamicQuantizeLinear and DequantizeLinear in front of layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import Program
from netwright.training.compressors.sites import WeightSite


def activation_seats(sites: Sequence[WeightSite]) -> dict[onnx_ir.Value, list[onnx_ir.Node]]:
    """The activations that linear and convolutional layers multiply with these weights, with the layers that read each."""
    found: dict[onnx_ir.Value, list[onnx_ir.Node]] = {}
    for site in sites:
        for reader in site.readers:
            value = reader.node.inputs[0]
            if reader.kind in ("linear", "conv") and reader.index == 1 and value is not None and reader.node not in found.get(value, []):
                found.setdefault(value, []).append(reader.node)
    return found


def quantize_activation(editor: Editor, value: onnx_ir.Value, readers: Sequence[onnx_ir.Node]) -> None:
    """Let the readers' first input be what 8-bit integers stand for, with one scale and zero point for the whole tensor of the moment.

    Values of inner graphs keep their names: what is compared with a teacher is the activation before.
    """
    name = value.name or "activation"
    editor.at(_first(editor.program, readers))
    names = [f"{name}.{part}" for part in ("uint8", "step", "zero")]
    codes, step, zero = editor.ops("DynamicQuantizeLinear", [value], names=names)
    floats = editor.op("DequantizeLinear", [codes, step, zero], name=f"{name}.quantized", like=value)
    for node in readers:
        editor.set_input(node, 0, floats)


def with_quantized_activations(program: Program, sites: Sequence[WeightSite]) -> Program:
    """A copy of a program in which all these layers read quantized activations.

    Args:
        program: left as it is.
        sites: of the program.
    """
    copy = program.clone()
    counterparts = dict(_pairs(program, copy))
    for value, readers in activation_seats(sites).items():
        with copy.edit() as editor:
            quantize_activation(editor, copy.value(value.name or ""), [counterparts[node] for node in readers])
    return copy


def _pairs(program: Program, copy: Program) -> Iterator[tuple[onnx_ir.Node, onnx_ir.Node]]:
    return zip(program.graph, copy.graph, strict=True)


def _first(program: Program, readers: Sequence[onnx_ir.Node]) -> onnx_ir.Node:
    """The one that stands first in the graph."""
    if len(readers) == 1:
        return readers[0]
    chosen = frozenset(readers)
    return next(node for node in program.graph if node in chosen)
