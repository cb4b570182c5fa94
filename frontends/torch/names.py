"""Names and shapes of a fresh export: parameters under their first path, outputs under the caller's keys, no stale shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import onnx_ir
import torch
from torch.utils import _pytree as pytree


def unify_ties(model: onnx_ir.Model, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Rename the initializer of a tied tensor to the first of its paths.

    Args:
        model: the export; its initializers wrap the module's own tensors.
        tensors: all paths of all tensors, aliases included, in the module's order.
    """
    first: dict[int, str] = {}
    renamed: dict[str, str] = {}
    for path, tensor in tensors:
        renamed[path] = first.setdefault(id(tensor), path)
    initializers = model.graph.initializers
    for value in list(initializers.values()):
        old = value.name or ""
        new = renamed.get(old, old)
        if new == old or new in initializers:
            continue
        value.name = new
        if value.const_value is not None:
            value.const_value.name = new


def output_paths(program: torch.export.ExportedProgram) -> list[str]:
    """For each tensor that `forward` returns its key, nested keys joined by `_`; empty strings where it returned no keys."""
    spec = program.call_spec.out_spec
    kinds = torch.export.graph_signature
    arguments = [output.arg for output in program.graph_signature.output_specs if output.kind == kinds.OutputKind.USER_OUTPUT]
    places = list(range(len(arguments)))
    if spec is None or spec.num_leaves != len(places):
        return [""] * len(places)
    paths = {place: "_".join(keys) if named else "" for place, keys, named in _walk(pytree.tree_unflatten(places, spec), (), named=False)}
    return [paths.get(place, "") for place, argument in enumerate(arguments) if not isinstance(argument, kinds.ConstantArgument)]


def _walk(value: object, keys: tuple[str, ...], *, named: bool) -> Iterator[tuple[int, tuple[str, ...], bool]]:
    if isinstance(value, int):
        yield value, keys, named
        return
    children, keyed = _children(value)
    for key, child in children:
        yield from _walk(child, (*keys, key), named=named or keyed)


def _children(value: object) -> tuple[list[tuple[str, object]], bool]:
    """What is inside a returned structure, by key, and whether the keys are names."""
    if isinstance(value, Mapping):
        return [(str(key), inner) for key, inner in cast("Mapping[object, object]", value).items()], True
    if hasattr(value, "_fields"):
        fields = cast("Sequence[str]", getattr(value, "_fields", ()))
        return [(name, getattr(value, name)) for name in fields], True
    if isinstance(value, (list, tuple)):
        return [(str(index), inner) for index, inner in enumerate(cast("Sequence[object]", value))], False
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)], True
    return [], False


def separate_outputs(graph: onnx_ir.Graph) -> None:
    """Put an Identity before every output that is also an input, an initializer, or another output: runtimes differ on those."""
    seen: set[onnx_ir.Value] = set()
    for index, value in enumerate(list(graph.outputs)):
        if value not in seen and not value.is_graph_input() and not value.is_initializer():
            seen.add(value)
            continue
        name = free_name(graph, f"{value.name}_out")
        node = onnx_ir.node("Identity", [value], outputs=[onnx_ir.Value(name=name, type=value.type, shape=value.shape)], name=name)
        graph.append(node)
        graph.outputs[index] = node.outputs[0]


def name_outputs(graph: onnx_ir.Graph, paths: Sequence[str]) -> None:
    """Rename the graph's outputs to their paths (as `output_paths` gives them); those without one keep torch's name."""
    for value, path in zip(graph.outputs, paths, strict=True):
        if path and value.name != path:
            value.name = free_name(graph, path)


def free_name(graph: onnx_ir.Graph, wanted: str) -> str:
    """`wanted`, or with the smallest number behind it that makes it unique among all values of `graph`."""
    taken = {value.name for value in (*graph.inputs, *graph.initializers.values())}
    taken |= {value.name for node in graph.all_nodes() for value in node.outputs}
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    return name


def new_constant(graph: onnx_ir.Graph, name: str, elements: int | list[int]) -> onnx_ir.Value:
    """A new int64 initializer: a scalar from an integer, a vector from a list."""
    name = free_name(graph, name)
    value = onnx_ir.Value(name=name, const_value=onnx_ir.tensor(elements, dtype=onnx_ir.DataType.INT64, name=name))
    graph.register_initializer(value)
    return value


def forget_output_shapes(graph: onnx_ir.Graph) -> None:
    """Drop the declared shapes of the outputs, for inference to find: torch leaves sizes of the example there (after an LSTM)."""
    for value in graph.outputs:
        value.shape = None
