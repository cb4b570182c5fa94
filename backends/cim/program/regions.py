"""Whether a region's model may be run: known operators, the tensors that it claims, sizes that are known and bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

import onnx
import onnx_ir

from netwright.backends.cim.program.model import Region, Tensor
from netwright.ir.contrib import CONTRIB
from netwright.ir.errors import NetwrightError, VerifyError
from netwright.ir.program import Program
from netwright.ir.shapes import infer, static_shape
from netwright.ir.storage import read_model

LIMIT = 2**31
"""Largest value inside a region, in bytes, of one sample."""


def region_program(region: Region, *, place: str = "") -> Program:
    """A region's model as a Program, free of anything that lies in other files.

    Raises:
        VerifyError: it is no ONNX model, or is not complete in itself.
    """
    where = place or f"region {region.name}"
    try:
        model = read_model(region.model)
    except NetwrightError as error:
        raise fault(where, f"Its model cannot be read: {error.message}") from error
    if model.functions:
        raise fault(where, "Its model has functions.")
    return Program(model)


def check_region(region: Region, tensors: Mapping[str, Tensor], *, place: str) -> None:
    """Hold that a region's model is what the region says, and that running it takes bounded room.

    A vector unit's region has operators of its table only, every shape known for one sample; a host's may have any standard operator.

    Raises:
        VerifyError: it is not so.
    """
    from netwright.backends.cim.mapping.work import why_host  # mapping builds on programs

    program = region_program(region, place=place)
    _signature(program, region, tensors, place)
    for node in program.nodes():
        if not _known(node, program):
            raise fault(place, f"{node.domain or 'ai.onnx'}.{node.op_type} is not an operator that a region may have.")
    for value, name in zip(program.inputs, region.inputs, strict=True):
        value.shape = onnx_ir.Shape(tensors[name].shape)
    try:
        infer(program)
    except (NetwrightError, ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise fault(place, f"The shapes of its model cannot be known: {error}") from error
    for node in program.nodes():
        reason = "" if region.why_host else why_host(node)
        if reason:
            raise fault(place, f"A vector unit cannot run its model: {reason}.")
        _bounded(node.outputs, place)
    for value, name in zip(program.outputs, region.outputs, strict=True):
        found = static_shape(value)
        if not region.why_host and found != tensors[name].shape:
            raise fault(place, f"It makes {name} as {found}, and the tensor is {tensors[name].shape}.")


def fault(place: str, message: str) -> VerifyError:
    """What is wrong with a region."""
    return VerifyError(message, place=place, remedy="The file is damaged, or was not made by netwright: compile the model again.")


def _signature(program: Program, region: Region, tensors: Mapping[str, Tensor], place: str) -> None:
    for values, names, what in ((program.inputs, region.inputs, "reads"), (program.outputs, region.outputs, "makes")):
        found = tuple(value.name or "" for value in values)
        if found != names or len(set(found)) != len(found):
            raise fault(place, f"Its model {what} {', '.join(found) or 'nothing'}, the region {', '.join(names) or 'nothing'}.")
        for value, name in zip(values, names, strict=True):
            dtype = value.dtype.numpy().name if value.dtype is not None else None
            if dtype != tensors[name].dtype:
                raise fault(place, f"{name} is {dtype} in its model, and a tensor of {tensors[name].dtype}.")
            if value.shape is None or len(value.shape) != len(tensors[name].shape):
                raise fault(place, f"{name} has another rank in its model than {tensors[name].shape}.")


def _known(node: onnx_ir.Node, program: Program) -> bool:
    if node.domain == "com.microsoft":
        return node.op_type in CONTRIB
    if node.domain not in ("", "ai.onnx"):
        return False
    try:
        onnx.defs.get_schema(node.op_type, program.opset, "")
    except (onnx.defs.SchemaError, RuntimeError):
        return False
    return True


def _bounded(values: Iterable[onnx_ir.Value], place: str) -> None:
    for value in values:
        shape = static_shape(value)
        if shape is not None and prod(shape) * 8 > LIMIT:
            raise fault(place, f"%{value.name} would take {prod(shape):,} elements.")
