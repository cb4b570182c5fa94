"""`channels_last`: Transposes sink through what works element by element, until they meet their inverse and go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import ELEMENTWISE, is_standard
from netwright.ir.program import Program, array, constant
from netwright.passes.base import Proposals, RewritePass
from netwright.passes.context import Context
from netwright.passes.driver import drive
from netwright.passes.rewrite import Rewrite
from netwright.passes.rules import RuleIndex, rule
from netwright.passes.simplify.facts import perm_of, producer
from netwright.passes.simplify.transposes import merge_transposes

_SCALED = ("QuantizeLinear", "DequantizeLinear")
_ENDS = ("QuantizeLinear", "Transpose")
_SINKS = tuple(sorted(ELEMENTWISE - {"Identity", "CastLike"})) + _SCALED


@rule(*_SINKS)
def sink_transpose(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """All operands transposed alike, or constant: the operator works on what they were, and one Transpose follows."""
    first = next((inner for value in node.inputs if (inner := producer(value, "Transpose")) is not None), None)
    perm = perm_of(first) if first is not None else None
    out = node.outputs[0]
    if node.op_type == "DequantizeLinear" and not _goes_on(out):
        return None
    if perm is None or len(node.outputs) != 1 or shape_of(out) is None or len(shape_of(out) or ()) != len(perm):
        return None
    operands = [_before(value, perm, scalar_only=node.op_type in _SCALED and index > 0) for index, value in enumerate(node.inputs)]
    if any(operand is None and value is not None for operand, value in zip(operands, node.inputs, strict=True)):
        return None

    def make(editor: Editor) -> onnx_ir.Value:
        inputs = [_made(editor, operand, value) for operand, value in zip(operands, node.inputs, strict=True)]
        done = editor.op(node.op_type, inputs, dict(node.attributes), name=f"{out.name}.last")
        return editor.op("Transpose", [done], {"perm": perm}, like=out)

    return Rewrite.build(node, make, why=f"transpose moved behind {node.op_type}")


def _goes_on(value: onnx_ir.Value) -> bool:
    """True where floats become integers, or meet the inverse Transpose, before anything else reads them.

    Bytes are cheaper to move than the floats made of them; a sum of floats (a mean over the map) must find them in the order that they
    had, or its last bits change; and a Conv that ONNX Runtime should run on integers must find its DequantizeLinear right before it.
    """
    pending, seen = [value], {value}
    while pending:
        one = pending.pop()
        readers = [user for user, _ in one.uses()]
        if not readers or one.is_graph_output() or not all(is_standard(user, *_SINKS, "Transpose") for user in readers):
            return False
        made = [out for user in readers if user.op_type not in _ENDS for out in user.outputs if out not in seen]
        seen.update(made)
        pending += made
    return True


def _before(value: onnx_ir.Value | None, perm: Sequence[int], *, scalar_only: bool) -> onnx_ir.Value | np.ndarray | None:
    """What an operand is before the transposition: the Transpose's input, a scalar as it is, a constant turned back; else None."""
    inner = producer(value, "Transpose")
    if inner is not None and not scalar_only:
        return inner.inputs[0] if perm_of(inner) == tuple(perm) else None
    tensor = constant(value)
    if tensor is None or value is None:
        return None
    if tensor.size == 1 and len(tensor.shape) <= 1:
        return value
    data = None if scalar_only else array(value, limit=1 << 20)
    if data is None or data.ndim > len(perm):
        return None
    full = data.reshape((1,) * (len(perm) - data.ndim) + data.shape)
    return np.ascontiguousarray(full.transpose(np.argsort(perm)))


def _made(editor: Editor, operand: onnx_ir.Value | np.ndarray | None, value: onnx_ir.Value | None) -> onnx_ir.Value | None:
    if isinstance(operand, np.ndarray):
        return editor.constant(operand, f"{value.name if value is not None else 'constant'}.last")
    return operand


_INDEX = RuleIndex((merge_transposes, sink_transpose))


@dataclass(frozen=True, kw_only=True)
class ChannelsLast(RewritePass):
    """Keep maps with channels last from product to product: Transposes sink through elementwise operators and cancel."""

    name: ClassVar[str] = "channels_last"
    fixpoint: ClassVar[bool] = True

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """The rules, to a fixpoint."""
        del context
        yield from drive(program, _INDEX)


def transposes(program: Program) -> int:
    """Transposes left in the main graph."""
    return sum(1 for node in program.graph if is_standard(node, "Transpose"))
