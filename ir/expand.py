"""Expansions of netwright's own operators as model-local functions: one for each signature that occurs.

A signature is what an expansion depends on: attributes, and types and shapes of the inputs that are given.
"""

from __future__ import annotations

from hashlib import blake2b

import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.operators import DOMAINS, expansion, operator_of

OVERLOADS_FROM = 10
"""First IR version in which functions have overloads."""


def is_own(node: onnx_ir.Node) -> bool:
    """True of nodes of netwright's own operators, those that it knows."""
    return node.domain in DOMAINS and operator_of(node.domain, node.op_type) is not None


def add_expansions(model: onnx_ir.Model) -> None:
    """Give every node of an own operator its function, so that it can be inlined, or run by other tools.

    Args:
        model: changed: functions are added, and nodes name theirs as their `overload`. Operators that netwright does not know stay.

    Raises:
        UnsupportedModelError: an expansion needs a size that is not known.
    """
    if not any(domain in DOMAINS for domain in model.opset_imports):
        return
    for node in model.graph.all_nodes():
        if not is_own(node) or node.op_identifier() in model.functions:
            continue
        node.overload = signature(node)
        if node.op_identifier() not in model.functions:
            model.functions[node.op_identifier()] = function_of(node, model.opset_imports.get("", 0))


def function_of(node: onnx_ir.Node, opset: int) -> onnx_ir.Function:
    """A node's expansion as a function, overloaded by the node's signature.

    Args:
        node: of an own operator.
        opset: the model's: callers and what they call must agree, and what expansions use later versions only extend.
    """
    body = expansion(node)
    body.opset_imports[""] = max(opset, body.opset_imports.get("", 0))
    return onnx_ir.Function(node.domain, node.op_type, signature(node), graph=body, attributes=())


def signature(node: onnx_ir.Node) -> str:
    """A short name of what a node's expansion depends on."""
    inputs = [None if value is None else (str(value.type), str(shape_of(value))) for value in node.inputs]
    attributes = sorted((name, str(found.value)) for name, found in node.attributes.items())
    return blake2b(repr((inputs, attributes)).encode(), digest_size=6).hexdigest()


def drop_expansions(model: onnx_ir.Model) -> None:
    """Take the functions of known own operators out of a model that was loaded: the operators are known without them.

    Args:
        model: changed; nodes lose their `overload`.
    """
    known = [key for key in model.functions if key[0] in DOMAINS and operator_of(key[0], key[1]) is not None]
    for key in known:
        del model.functions[key]
    if not known:
        return
    for node in model.graph.all_nodes():
        if is_own(node):
            node.overload = ""
