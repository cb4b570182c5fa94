"""Example inputs and dynamic dimensions, checked and brought into the form that torch's exporter wants."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import onnx_ir
import torch
from torch.utils import _pytree as pytree

from netwright.frontends.torch.trace import DynamicShapes
from netwright.ir.errors import ExportError

_EXAMPLE = 'Write it as {"argument": {0: "batch"}}.'


@dataclass(frozen=True, slots=True)
class Leaf:
    """One example tensor.

    Attributes:
        path: where it stands among the arguments, such as `batch.ids` or `pair.0`.
        tensor: the tensor itself.
        names: the names of its dynamic dimensions by axis; None where the dimension has no name of its own.
    """

    path: str
    tensor: torch.Tensor
    names: Mapping[int, str | None]


@dataclass(frozen=True, slots=True)
class Examples:
    """Example arguments of `forward`, in order, and what varies in them.

    Attributes:
        args: positional arguments.
        kwargs: keyword arguments in the order of `forward`'s signature.
        shapes: dynamic shapes in torch's form, names replaced by `Dim.DYNAMIC`; None where everything is static.
        leaves: all tensors among the arguments, in the order of the graph's inputs.
    """

    args: tuple[object, ...]
    kwargs: dict[str, object]
    shapes: dict[str, object] | None
    leaves: list[Leaf] = field(default_factory=list[Leaf])


def examples(
    module: torch.nn.Module, args: Sequence[object] | torch.Tensor, kwargs: Mapping[str, object], dynamic_shapes: DynamicShapes | None
) -> Examples:
    """Check the arguments against `module.forward` and resolve `dynamic_shapes` for each tensor among them.

    Raises:
        ExportError: they do not fit `forward`'s signature, a tensor is given twice, or `dynamic_shapes` does not fit them.
    """
    positional = (args,) if isinstance(args, torch.Tensor) else tuple(args)
    signature = inspect.signature(module.forward)
    try:
        bound = signature.bind(*positional, **kwargs).arguments
    except TypeError as error:
        raise ExportError(
            f"The example inputs do not fit {type(module).__name__}.forward{signature}: {error}.",
            place=type(module).__name__,
            remedy="Give args and kwargs as the module is called.",
        ) from error
    ordered = {name: kwargs[name] for name in [*bound, *kwargs] if name in kwargs}
    specs = _by_argument(dynamic_shapes, bound)
    if specs:
        _refuse_open_keywords(signature, bound)
    leaves: list[Leaf] = []
    shapes = {name: _resolve(specs.get(name), value, name, leaves) for name, value in bound.items()}
    _refuse_aliases(module, leaves)
    _refuse_clashing_names(leaves)
    return Examples(positional, ordered, shapes if specs else None, leaves)


def name_dimensions(inputs: Sequence[onnx_ir.Value], leaves: Sequence[Leaf]) -> None:
    """Give the graph inputs' dynamic dimensions the names that the user chose in place of torch's symbols.

    Where torch proved two named dimensions equal, the first name stands for both.

    Raises:
        ExportError: a dimension that should be dynamic came out fixed.
    """
    chosen: dict[str, str] = {}
    for value, leaf in zip(inputs, leaves, strict=True):
        for axis, name in leaf.names.items():
            if value.shape is None:
                continue
            size = value.shape[axis]
            if isinstance(size, int):
                raise ExportError(
                    f"Dimension {axis} ({name or 'unnamed'}) of input {leaf.path!r} should be dynamic, but the module fixes it at {size}.",
                    place=leaf.path,
                    remedy="Leave that dimension out of dynamic_shapes, or make forward accept any size there.",
                )
            if name and size.value and size.value.isidentifier():
                chosen.setdefault(size.value, name)
    for value in inputs:
        if value.shape is not None and not value.shape.is_static():
            value.shape = onnx_ir.Shape([_renamed(size, chosen) for size in value.shape])


def _renamed(size: int | onnx_ir.SymbolicDim, chosen: Mapping[str, str]) -> int | onnx_ir.SymbolicDim:
    if isinstance(size, int) or size.value is None:
        return size
    tokens = [chosen.get(token, token) for token in _tokens(size.value)]
    return onnx_ir.SymbolicDim("".join(tokens))


def _tokens(expression: str) -> Iterator[str]:
    start = 0
    for at in range(1, len(expression) + 1):
        inside = at < len(expression) and _is_word(expression[at - 1]) and _is_word(expression[at])
        if not inside:
            yield expression[start:at]
            start = at


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _by_argument(spec: DynamicShapes | None, bound: Mapping[str, object]) -> dict[str, object]:
    if not spec:
        return {}
    if not isinstance(spec, Mapping):
        if len(spec) != len(bound):
            raise ExportError(
                f"dynamic_shapes has {len(spec)} entries for {len(bound)} arguments ({', '.join(bound)}).",
                place="dynamic_shapes",
                remedy=_EXAMPLE,
            )
        return dict(zip(bound, spec, strict=True))
    if all(isinstance(key, int) for key in spec):
        tensors = [name for name, value in bound.items() if isinstance(value, torch.Tensor)]
        if len(tensors) != 1:
            raise ExportError(
                f"dynamic_shapes gives axes without saying of which argument; there are {', '.join(bound)}.",
                place="dynamic_shapes",
                remedy=_EXAMPLE,
            )
        return {tensors[0]: spec}
    named = {str(key): value for key, value in cast("Mapping[object, object]", spec).items()}
    for name in named:
        if name not in bound:
            raise ExportError(
                f"dynamic_shapes names {name!r}, but the arguments given are {', '.join(bound)}.", place="dynamic_shapes", remedy=_EXAMPLE
            )
    return named


def _resolve(spec: object, value: object, path: str, leaves: list[Leaf]) -> object:
    """`spec` in torch's form, with one entry for each thing inside `value`; tensors found are appended to `leaves`."""
    if isinstance(value, torch.Tensor):
        axes = _axes(spec, value, path)
        leaves.append(Leaf(path, value, {axis: _name_of(size) for axis, size in axes.items() if _varies(size)}))
        return {axis: torch.export.Dim.DYNAMIC if isinstance(size, str) else size for axis, size in axes.items()} or None
    children = _children(value)
    if children is None:
        return None
    inner = _inner_specs(spec, children, path)
    resolved = {key: _resolve(inner.get(key), child, f"{path}.{key}", leaves) for key, child in children.items()}
    if isinstance(value, Mapping):
        return resolved
    listed = list(resolved.values())
    return tuple(listed) if isinstance(value, tuple) else listed


def _children(value: object) -> dict[object, object] | None:
    """What is directly inside a container, by key or index; None for things that hold no tensors."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, object]", value))
    found = pytree.tree_flatten(value, is_leaf=lambda inner: inner is not value)[0]
    if len(found) == 1 and found[0] is value:
        return None
    return dict(enumerate(cast("list[object]", found)))


def _inner_specs(spec: object, children: Mapping[object, object], path: str) -> dict[object, object]:
    if spec is None:
        return {}
    found: dict[object, object] = {}
    if isinstance(spec, Mapping):
        found = dict(cast("Mapping[object, object]", spec))
    elif isinstance(spec, Sequence) and not isinstance(spec, str):
        found = dict(enumerate(cast("Sequence[object]", spec)))
    else:
        found[spec] = None
    unknown = [key for key in found if key not in children]
    if unknown:
        raise ExportError(
            f"dynamic_shapes has no place for {unknown[0]!r} in {path!r}, which holds {', '.join(map(repr, children))}.",
            place="dynamic_shapes",
            remedy="Nest it as the example input is nested.",
        )
    return found


def _axes(spec: object, tensor: torch.Tensor, path: str) -> dict[int, object]:
    if spec is None:
        return {}
    if isinstance(spec, Mapping):
        found = dict(cast("Mapping[object, object]", spec))
    elif isinstance(spec, Sequence) and not isinstance(spec, str):
        found = dict(enumerate(cast("Sequence[object]", spec)))
    else:
        raise ExportError(f"dynamic_shapes of {path!r} is {spec!r}, not axes.", place="dynamic_shapes", remedy=_EXAMPLE)
    axes: dict[int, object] = {}
    for axis, size in found.items():
        if not isinstance(axis, int) or not -tensor.dim() <= axis < tensor.dim():
            raise ExportError(
                f"dynamic_shapes names axis {axis!r} of {path!r}, whose example has shape {list(tensor.shape)}.",
                place="dynamic_shapes",
                remedy=_EXAMPLE,
            )
        if isinstance(size, str) and not size.isidentifier():
            raise ExportError(
                f"{size!r} cannot name a dimension of {path!r}.", place="dynamic_shapes", remedy="Use letters, digits and underscores."
            )
        if size is not None:
            axes[axis % tensor.dim()] = size
    return axes


def _varies(size: object) -> bool:
    return size is not None and not isinstance(size, int) and size not in (torch.export.Dim.STATIC, torch.export.Dim.AUTO)


def _name_of(size: object) -> str | None:
    name = size if isinstance(size, str) else getattr(size, "__name__", None)
    return name if isinstance(name, str) and name.isidentifier() else None


def _refuse_open_keywords(signature: inspect.Signature, bound: Mapping[str, object]) -> None:
    """Dynamic shapes of arguments that arrive through `**` make torch 2.13 fail."""
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD and name in bound:
            given = ", ".join(cast("Mapping[str, object]", bound[name]))
            raise ExportError(
                f"torch cannot export dynamic shapes with arguments that forward takes through **{name}: {given}.",
                place=name,
                remedy="Name these arguments in forward's signature, or trace without dynamic_shapes.",
            )


def _refuse_aliases(module: torch.nn.Module, leaves: Sequence[Leaf]) -> None:
    owned = {id(tensor): f"the module's own {name!r}" for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
    for leaf in leaves:
        other = owned.get(id(leaf.tensor))
        if other is not None:
            raise ExportError(
                f"Input {leaf.path!r} is the same tensor object as {other}: the exporter would make them one.",
                place=leaf.path,
                remedy="Give a copy: tensor.detach().clone().",
            )
        owned[id(leaf.tensor)] = f"input {leaf.path!r}"


def _refuse_clashing_names(leaves: Sequence[Leaf]) -> None:
    sizes: dict[str, tuple[int, str]] = {}
    for leaf in leaves:
        for axis, name in leaf.names.items():
            if name is None:
                continue
            size = leaf.tensor.shape[axis]
            first, path = sizes.setdefault(name, (size, leaf.path))
            if first != size:
                raise ExportError(
                    f"Dimension {name!r} is {first} in the example for {path!r} and {size} in the one for {leaf.path!r}.",
                    place="dynamic_shapes",
                    remedy="Equal names mean equal sizes: give examples that agree, or another name.",
                )
