"""netwright's own operators: by domain, each with a schema, a shape rule and an expansion into standard operators.

A domain's operators live where they are used (a backend, say) and are loaded when a node of that domain is first met: in a graph that
a pass makes, or in a file. In a saved file each signature of an operator stands as one model-local function, so that other tools run
it; on load these functions are dropped again, since the operators are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, cast

import onnx_ir

from netwright.ir.errors import UnsupportedModelError
from netwright.ir.schemas import Schema

if TYPE_CHECKING:
    from netwright.ir.shape_context import Context

ShapeRule: TypeAlias = "Callable[[Context, onnx_ir.Node], None]"
Expansion: TypeAlias = Callable[[onnx_ir.Node], onnx_ir.Graph]
"""Makes a graph of standard operators for a node: inputs in the order of the schema's formals that are given, Constants as nodes."""

DOMAINS: Mapping[str, str] = MappingProxyType({"netwright.cim": "netwright.backends.cim.ops.table:OPERATORS"})
"""Domain → where its operators are."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One of netwright's own operators.

    Attributes:
        schema: inputs, outputs, attributes.
        infer: gives the outputs their types and shapes.
        expand: what the node is in standard operators.
    """

    schema: Schema
    infer: ShapeRule
    expand: Expansion


@cache
def operators_of(domain: str) -> Mapping[str, Operator]:
    """A domain's operators by name; empty for domains that are not netwright's."""
    place = DOMAINS.get(domain)
    if place is None:
        return MappingProxyType({})
    module, _, attribute = place.partition(":")
    return cast("Mapping[str, Operator]", getattr(import_module(module), attribute))


def operator_of(domain: str, op_type: str) -> Operator | None:
    """One of netwright's own operators, or None where there is none of that name."""
    return operators_of(domain).get(op_type) if domain in DOMAINS else None


def expansion(node: onnx_ir.Node) -> onnx_ir.Graph:
    """What a node of an own operator is in standard operators.

    Raises:
        UnsupportedModelError: netwright has no such operator.
    """
    found = operator_of(node.domain, node.op_type)
    if found is None:
        raise UnsupportedModelError(
            f"There is no operator {node.domain}::{node.op_type}.",
            place=node.outputs[0].name,
            remedy="Load the file with the version of netwright that wrote it.",
        )
    return found.expand(node)
