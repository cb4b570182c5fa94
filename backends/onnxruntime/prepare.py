"""What a graph needs before ONNX Runtime takes it; each step changes a clone of the caller's program."""

from __future__ import annotations

import onnx_ir
from onnx_ir.passes.common import InlinePass

from netwright.ir.errors import RunError
from netwright.ir.expand import add_expansions
from netwright.ir.program import Program, array

_OWN_DOMAIN = "netwright"
_TRAINING_MODE = 2


def prepare(program: Program) -> Program:
    """A clone with netwright's own functions inlined and Dropout taken out; tensors are shared.

    Raises:
        RunError: one of netwright's own operators has no expansion in the model.
    """
    copy = program.clone()
    inline_own(copy.model)
    strip_dropout(copy)
    return copy


def is_own(domain: str) -> bool:
    """True for `netwright` and `netwright.…`, the domains of netwright's operators."""
    return domain == _OWN_DOMAIN or domain.startswith(f"{_OWN_DOMAIN}.")


def inline_own(model: onnx_ir.Model) -> None:
    """Put the bodies of netwright's functions, and the expansions of its operators, in place of their calls.

    ONNX Runtime rejects calls without an optional input.
    """
    add_expansions(model)
    if any(is_own(function.domain) for function in model.functions.values()):
        InlinePass(criteria=lambda function: is_own(function.domain))(model)
    for node in model.graph.all_nodes():
        if is_own(node.domain):
            raise RunError(
                f"The operator {node.domain}::{node.op_type} has no expansion in this model.",
                place=node.outputs[0].name,
                remedy="Save and load the model with netwright, which writes expansions as functions.",
            )


def strip_dropout(program: Program) -> None:
    """Take out Dropout whose training mode is constantly on (`nw.trace(..., dropout=True)`).

    It becomes the identity that it is at inference. Where its mask is used, or it makes an output, it stays, in inference mode.
    """
    for node in list(program.nodes("Dropout", domain="")):
        mode = array(node.inputs[_TRAINING_MODE]) if len(node.inputs) > _TRAINING_MODE else None
        if mode is None or not mode.item():
            continue
        data, made = node.inputs[0], node.outputs[0]
        masked = len(node.outputs) > 1 and bool(node.outputs[1].uses() or node.outputs[1].is_graph_output())
        if data is None or masked or made.is_graph_output():
            node.replace_input_with(_TRAINING_MODE, None)
            continue
        made.replace_all_uses_with(data)
        graph = node.graph
        assert graph is not None, "program.nodes() gives nodes of graphs"
        graph.remove(node, safe=True)
