"""Lowering of one node: a call of its entry's function, with its inputs in the forms that the entry asks for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import onnx_ir

from netwright.backends.torch.attributes import is_taken, plain, require_default
from netwright.backends.torch.constants import lower_constant_node
from netwright.backends.torch.control import CONTROL
from netwright.backends.torch.dtypes import IN_BYTES, to_tensor, torch_dtype
from netwright.backends.torch.held import Carried, Held, InTensor
from netwright.backends.torch.numbers import lower_on_host
from netwright.backends.torch.roles import entry_of, parameter_name
from netwright.backends.torch.table import OpEntry, find_entry
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.opinfo import site

if TYPE_CHECKING:
    from torch import fx

    from netwright.backends.torch.builder import Argument, GraphBuilder
    from netwright.backends.torch.settings import Fused

TRAINED = "netwright.training"
"""Domain of entries that stand in for ONNX's own while a program is trained."""

_CASTS = frozenset({"Cast", "CastLike"})
_BIAS = 2


def lower_node(builder: GraphBuilder, node: onnx_ir.Node) -> None:
    """Lower a node: control flow, a constant, arithmetic on sizes, or a call.

    Raises:
        UnsupportedModelError: its operator has no entry, or the entry does not take an input or attribute that it has.
    """
    if (node.domain, node.op_type) in CONTROL:
        CONTROL[node.domain, node.op_type](builder, node)
    elif not node.domain and node.op_type == "Constant":
        lower_constant_node(builder, node)
    elif not lower_on_host(builder, node) and not _cast_to_known_type(builder, node):
        entry = entry_of(node, builder.program)
        if entry is None:
            raise UnsupportedModelError(f"The torch backend has no entry for {node.op_type}.", place=site(node))
        _lower_call(builder, node, _for_training(builder, node, entry))


def lower_fused(builder: GraphBuilder, node: onnx_ir.Node, fused: Fused) -> None:
    """Lower the node that ends a pattern to the one call that computes it all."""
    take = builder.carried if fused.carries else builder.tensor
    args = [None if value is None else take(value) for value in fused.inputs]
    keywords: dict[str, Argument] = dict(fused.keywords)
    if fused.training:
        keywords["training"] = builder.get("training")
    carried = fused.carries and builder.settings.trainable
    if carried:
        keywords["carried"] = True
    made = builder.call(fused.function, args, keywords, name=node.outputs[0].name or node.op_type)

    def form(value: onnx_ir.Value, part: fx.Node) -> Held:
        return Carried(part, value.dtype) if carried and value.dtype is not None and value.dtype.is_integer() else InTensor(part)

    builder.bind_outputs(node, made, form, several=False)


def _lower_call(builder: GraphBuilder, node: onnx_ir.Node, entry: OpEntry) -> None:
    moved = _moves_carried(builder, node, entry)
    args = _arguments(builder, node, entry, moved=moved)
    carried = builder.settings.trainable and "carried" in entry.requests and _makes_carried(builder, node)
    keywords = {**_attributes(builder, node, entry), **_requests(builder, node, entry, carried=carried)}
    several = len(node.outputs) > 1 or returns_tuple(entry)
    first = node.outputs[0].name or node.op_type
    made = builder.call(entry.function, args, keywords, name=f"{first}_all" if several else first)

    def form(value: onnx_ir.Value, part: fx.Node) -> Held:
        dtype = value.dtype
        return Carried(part, dtype) if (carried or moved) and dtype is not None and dtype.is_integer() else InTensor(part)

    builder.bind_outputs(node, made, form, several=several, exact=not several or returns_only_tuples(entry))


def _cast_to_known_type(builder: GraphBuilder, node: onnx_ir.Node) -> bool:
    """Lower a CastLike whose type the graph knows as the Cast that it is: 4-bit integers lie in bytes, which do not tell."""
    like = node.inputs[1] if not node.domain and node.op_type == "CastLike" else None
    if like is None or like.dtype is None:
        return False
    attributes = [*node.attributes.values(), onnx_ir.AttrInt64("to", int(like.dtype))]
    cast = onnx_ir.Node(
        "", "Cast", [node.inputs[0]], attributes, outputs=[onnx_ir.Value(name=node.outputs[0].name, type=node.outputs[0].type)]
    )
    entry = find_entry("Cast", "", builder.program.opset)
    assert entry is not None, "the table has Cast"
    _lower_call(builder, cast, entry)
    builder.bind(node.outputs[0], builder.held(cast.outputs[0]))
    cast.replace_input_with(0, None)  # it was no node of the graph: its input is to forget it
    return True


def _for_training(builder: GraphBuilder, node: onnx_ir.Node, entry: OpEntry) -> OpEntry:
    """The entry that stands in for a norm with running statistics where these are to be trained."""
    if not builder.settings.train_norms or node.domain:
        return entry
    return find_entry(node.op_type, TRAINED, 1) or entry


# ---- arguments ---------------------------------------------------------------------------------------------------


def _arguments(builder: GraphBuilder, node: onnx_ir.Node, entry: OpEntry, *, moved: bool) -> list[Argument]:
    if len(node.inputs) > len(entry.inputs) and not entry.variadic:
        raise UnsupportedModelError(
            f"{node.op_type} takes {len(entry.inputs)} inputs in the torch backend, and this node has {len(node.inputs)}.", place=site(node)
        )
    args: list[Argument] = []
    for index, value in enumerate(node.inputs):
        name = parameter_name(entry, index)
        if value is None or (index == _BIAS and _is_empty_bias(builder, node, value)):
            args.append(None)
        elif name in entry.host:
            args.append(builder.numbers(value))
        elif name in entry.numbers and (number := builder.number(value)) is not None:
            args.append(number)
        elif name in entry.carries or (name in entry.moves and moved):
            args.append(builder.carried(value))
        else:
            args.append(builder.tensor(value))
    while args and args[-1] is None:
        args.pop()
    return args


def _is_empty_bias(builder: GraphBuilder, node: onnx_ir.Node, value: onnx_ir.Value) -> bool:
    """True for the zeros that torch's exporter adds to a convolution without bias; they would cost a gradient."""
    if node.domain or node.op_type not in ("Conv", "ConvTranspose"):
        return False
    held = builder.known(value)
    return held is not None and isinstance(held.value, list) and not any(held.value)


def _attributes(builder: GraphBuilder, node: onnx_ir.Node, entry: OpEntry) -> dict[str, Argument]:
    defaults = _defaults(entry)
    found: dict[str, Argument] = {}
    for name, attribute in node.attributes.items():
        if not is_taken(entry, attribute):
            require_default(node, attribute, builder.program.model.opset_imports.get(node.domain, 1))
        elif attribute.type == onnx_ir.AttributeType.TENSOR:
            tensor = to_tensor(attribute.as_tensor().numpy()).clone()
            found[name] = builder.get(builder.bank.add_constant(f"{site(node)}_{name}", tensor))
        elif name in entry.dtypes:
            found[name] = torch_dtype(attribute.as_int()) if attribute.as_int() else None
        elif (value := plain(attribute)) != defaults.get(name, _MISSING):
            found[name] = value  # pyright: ignore[reportArgumentType]  (tuples of plain values)
    made = node.outputs[0].dtype
    if node.op_type == "QuantizeLinear" and made is not None and made in IN_BYTES:
        found["output_dtype"] = int(made)
    return found


def _requests(builder: GraphBuilder, node: onnx_ir.Node, entry: OpEntry, *, carried: bool) -> dict[str, Argument]:
    found: dict[str, Argument] = {}
    if "device" in entry.requests:
        found["device"] = builder.device()
    if "training" in entry.requests:
        found["training"] = builder.get("training")
    if "wanted" in entry.requests:
        found["wanted"] = tuple(_is_read(builder, output) for output in node.outputs)
    if "opset" in entry.requests:
        found["opset"] = builder.program.model.opset_imports.get(node.domain, 1)
    if "result" in entry.requests and node.outputs[0].dtype is not None:
        found["result"] = torch_dtype(node.outputs[0].dtype)
    if carried:
        found["carried"] = True
    return found


def _is_read(builder: GraphBuilder, output: onnx_ir.Value) -> bool:
    return bool(output.name) and (bool(output.uses()) or output.is_graph_output() or output.name in builder.settings.wanted)


def _moves_carried(builder: GraphBuilder, node: onnx_ir.Node, entry: OpEntry) -> bool:
    """True where all that is moved is carried."""
    moved = [value for index, value in enumerate(node.inputs) if value is not None and parameter_name(entry, index) in entry.moves]
    return bool(moved) and all(isinstance(builder.held(value), Carried) for value in moved)


def _makes_carried(builder: GraphBuilder, node: onnx_ir.Node) -> bool:
    """True unless the node casts what is not carried."""
    source = node.inputs[0]
    return node.op_type not in _CASTS or (source is not None and isinstance(builder.held(source), Carried))


_MISSING = object()


@cache
def _defaults(entry: OpEntry) -> Mapping[str, object]:
    """Defaults of an entry's attributes; what equals them need not be said."""
    return {name: parameter.default for name, parameter in inspect.signature(entry.function).parameters.items()}


@cache
def returns_only_tuples(entry: OpEntry) -> bool:
    """True for an entry that returns a tuple whichever outputs are wanted."""
    return str(inspect.signature(entry.function).return_annotation).startswith("tuple")


@cache
def returns_tuple(entry: OpEntry) -> bool:
    """True for an entry that says it returns a tuple, even where the node has one output."""
    return "tuple" in str(inspect.signature(entry.function).return_annotation)
