"""Operators that have no entry but a definition: the standard's own function bodies, and a model's local functions, inlined."""

from __future__ import annotations

from typing import Protocol, cast

import onnx
import onnx_ir
from onnx_ir.passes.common import InlinePass

from netwright.backends.torch.control import CONTROL
from netwright.backends.torch.roles import entry_of
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.opinfo import site
from netwright.ir.program import Program
from netwright.ir.shapes import infer

_BODIES = "netwright.expanded"
_ROUNDS = 8
"""Bodies may use operators that need bodies again; no operator of the standard nests this deep."""


class _Defined(Protocol):
    """The parts of `onnx.defs.OpSchema` that its type stubs leave out."""

    has_function: bool
    has_context_dependent_function: bool
    function_opset_versions: list[int]
    context_dependent_function_opset_versions: list[int]

    def get_function_with_opset_version(self, version: int) -> bytes: ...
    def get_context_dependent_function_with_opset_version(self, version: int, node: bytes, types: list[bytes]) -> bytes: ...


def expand(program: Program) -> Program:
    """A clone whose nodes all have entries: local functions are inlined, and so are the standard's definitions where need be.

    Args:
        program: left as it is; tensors are shared.

    Raises:
        UnsupportedModelError: operators that have neither an entry nor a definition, with their nodes.
    """
    copy = program.clone()
    changed = bool(copy.model.functions)
    if changed:
        InlinePass()(copy.model)
    for _ in range(_ROUNDS):
        missing = _without_entry(copy)
        if not missing:
            break
        for node in missing:
            _call_definition(copy, node)
        InlinePass()(copy.model)
        changed = True
    if changed:
        copy = Program(copy.model, ledger=copy.ledger, properties=copy.properties)
        copy.resources = program.resources
        infer(copy)
    return copy


def _without_entry(program: Program) -> list[onnx_ir.Node]:
    """Nodes that need a definition.

    Raises:
        UnsupportedModelError: some have none.
    """
    missing = [node for node in program.nodes() if not _has_entry(node, program)]
    hopeless = [node for node in missing if _definition(node, program) is None]
    if hopeless:
        raise _unsupported(hopeless)
    return missing


def _has_entry(node: onnx_ir.Node, program: Program) -> bool:
    if (node.domain, node.op_type) in CONTROL or (not node.domain and node.op_type == "Constant"):
        return True
    return entry_of(node, program) is not None


def _unsupported(nodes: list[onnx_ir.Node]) -> UnsupportedModelError:
    by_operator: dict[str, list[str]] = {}
    for node in nodes:
        by_operator.setdefault(f"{node.domain}::{node.op_type}" if node.domain else node.op_type, []).append(f"%{site(node)}")
    listed = "; ".join(
        f"{name} ({', '.join(sites[:3])}{f' and {len(sites) - 3} more' if len(sites) > 3 else ''})" for name, sites in by_operator.items()
    )
    first = nodes[0]
    domain = f', domain="{first.domain}"' if first.domain else ""
    return UnsupportedModelError(
        f"The torch backend has no entry for {listed}.",
        place=site(first),
        remedy=f'Add one: @netwright.backends.torch.torch_op("{first.op_type}", since=…{domain}) before a function on torch tensors.',
    )


def _definition(node: onnx_ir.Node, program: Program) -> onnx.FunctionProto | None:
    """The standard's definition of an operator by others, for this node."""
    version = program.model.opset_imports.get(node.domain)
    if version is None or not onnx.defs.has(node.op_type, node.domain):
        return None
    found = cast("_Defined", onnx.defs.get_schema(node.op_type, version, node.domain))
    if found.has_function:
        versions = [one for one in found.function_opset_versions if one <= version]
        text = found.get_function_with_opset_version(max(versions)) if versions else None
    elif found.has_context_dependent_function:
        versions = [one for one in found.context_dependent_function_opset_versions if one <= version]
        text = _specialised(found, node, max(versions)) if versions else None
    else:
        return None
    return onnx.FunctionProto.FromString(text) if text else None


def _specialised(schema: _Defined, node: onnx_ir.Node, version: int) -> bytes | None:
    """A definition that depends on the types of the node's inputs; None where they are not known."""
    types: list[bytes] = []
    for value in node.inputs:
        if value is not None and value.type is None:
            return None
        proto = (
            onnx.TypeProto()
            if value is None
            else onnx.ValueInfoProto.FromString(onnx_ir.serde.serialize_value(value).SerializeToString()).type
        )
        types.append(proto.SerializeToString())
    plain = onnx_ir.serde.serialize_node(node)
    return schema.get_context_dependent_function_with_opset_version(version, plain.SerializeToString(), types)


def _call_definition(program: Program, node: onnx_ir.Node) -> None:
    """Make a node a call of a local function that holds its definition."""
    proto = _definition(node, program)
    assert proto is not None, "asked only of nodes that have one"
    proto.domain, proto.name = _BODIES, f"{node.op_type}_{len(program.model.functions)}"
    function = onnx_ir.serde.deserialize_function(proto)
    versions = program.model.opset_imports
    function.opset_imports.update({domain: versions[domain] for domain in function.opset_imports if domain in versions})
    program.model.functions[function.identifier()] = function
    program.model.opset_imports.setdefault(_BODIES, 1)
    _write_defaults_out(node, versions[node.domain])
    node.domain, node.op_type, node.overload = _BODIES, proto.name, ""


def _write_defaults_out(node: onnx_ir.Node, version: int) -> None:
    """Give a node the attributes that it leaves to their defaults: the schema knows these, a body that refers to them does not."""
    for name, attribute in onnx.defs.get_schema(node.op_type, version, node.domain).attributes.items():
        if name not in node.attributes and attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
            node.attributes.add(onnx_ir.serde.deserialize_attribute(attribute.default_value))
