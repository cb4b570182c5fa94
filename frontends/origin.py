"""Translates what exporters write about a node's origin into netwright's own metadata keys.

Two exporters of torch are known. The dynamo exporter (`torch.onnx.export(dynamo=True)`) writes module scopes, class
hierarchy, fx node and a whole stack trace on every node, about 3 kB each. The older TorchScript exporter only names nodes by
their scope (`/encoder/layer.0/attention/self/query/MatMul`). Both become `netwright.module`, `.class` and `.source`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, MutableMapping
from typing import cast

import onnx_ir

from netwright.ir.origin import CLASS, MODULE, SOURCE

BULKY = ("namespace", "pkg.torch.", "pkg.onnxscript.")
"""Prefixes of the exporters' own keys: dropped once translated."""

_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"
_TRACE = "pkg.torch.onnx.stack_trace"

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_TORCHS_OWN = re.compile(
    r"[/\\](?:site|dist)-packages[/\\](?:torch|torchgen|functorch|onnxscript|onnx)[/\\]|[/\\]torch[/\\](?:nn|fx|_|onnx|export|utils|functional)"
)
_INSTALLED = re.compile(r".*[/\\](?:site|dist)-packages[/\\]")
_PARTIAL_PATH = re.compile(r"^(?:torch|torchgen|functorch|onnxscript)[/\\]|runtime_assert\.py$")
_UNKNOWN_MODULE = "_empty_nn_module_stack"
"""What torch writes as the module of nodes that it made itself."""
_CLASS_SUFFIX = re.compile(r"^[A-Za-z_][\w.]*$")


def adopt(model: onnx_ir.Model) -> None:
    """Give every node netwright's origin keys and drop the exporter's own, in the main graph, subgraphs and functions.

    Nodes that already carry a netwright key keep it. Keys that no known exporter wrote stay. A value's metadata of the
    exporter (`pkg.torch.*`: parameter, buffer or user input) is dropped as well: read it before if it is needed.

    Args:
        model: changed in place. Linear in its nodes.
    """
    scoped_names = model.producer_name == "pytorch"
    _drop_bulky(model.metadata_props)
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        _drop_bulky(graph.metadata_props)
        for value in (*graph.inputs, *graph.initializers.values()):
            _drop_bulky(value.metadata_props)
        for node in graph.all_nodes():
            _adopt_node(node, scoped_names=scoped_names)


def _adopt_node(node: onnx_ir.Node, *, scoped_names: bool) -> None:
    props = node.metadata_props
    for key, found in _facts(node, scoped_names=scoped_names):
        if found:
            props.setdefault(key, found)
    _drop_bulky(props)
    for value in node.outputs:
        _drop_bulky(value.metadata_props)


def _facts(node: onnx_ir.Node, *, scoped_names: bool) -> Iterator[tuple[str, str]]:
    props = node.metadata_props
    if not props:
        if scoped_names and node.name and node.name.startswith("/"):
            yield MODULE, module_of_scoped_name(node.name)
        return
    if _TRACE in props:
        yield SOURCE, source_of_trace(props[_TRACE])
    if _SCOPES in props:
        module, cls = innermost_module(props[_SCOPES], props.get(_CLASSES, "[]"))
        yield MODULE, module
        yield CLASS, cls


def innermost_module(scopes: str, classes: str) -> tuple[str, str]:
    """Module path and class of the innermost module, from the exporter's two parallel lists.

    The lists are Python literals; their last entries are the fx node and its operator, the ones before the modules around it,
    outermost first: `['', 'encoder', 'encoder.fc', 'linear_1']` is in module `encoder.fc`.
    """
    paths, kinds = _names(scopes), _names(classes)
    if len(paths) < 2:
        return "", ""
    if paths[-2].startswith(_UNKNOWN_MODULE):
        return "", ""
    cls = kinds[len(paths) - 2] if len(kinds) == len(paths) else ""
    return paths[-2], cls if _CLASS_SUFFIX.match(cls) else ""


def source_of_trace(trace: str) -> str:
    """`file:line` of the innermost frame that is neither torch's own nor generated code; empty where there is none.

    Paths inside an installed package are cut to the package (`transformers/models/bert/modeling_bert.py:175`).
    """
    for path, line in reversed(_FRAME.findall(trace)):
        if not path.startswith("<") and not _TORCHS_OWN.search(path) and not _PARTIAL_PATH.search(path):
            return f"{_INSTALLED.sub('', path)}:{line}"
    return ""


def module_of_scoped_name(name: str) -> str:
    """Module path of a node named by the TorchScript exporter: `/layer1/layer1.0/conv1/Conv` is in `layer1.0.conv1`."""
    parts: list[str] = []
    for part in name.split("/")[1:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return ".".join(parts)


def _names(literal: str) -> list[str]:
    try:
        found = ast.literal_eval(literal)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [entry for entry in cast("list[object]", found) if isinstance(entry, str)] if isinstance(found, list) else []


def _drop_bulky(props: MutableMapping[str, str]) -> None:
    for key in [key for key in props if key.startswith(BULKY)]:
        del props[key]
