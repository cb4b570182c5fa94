"""One graph of a program, node by node, as an fx graph.

Each ONNX node becomes a call of its entry's function. Values are at hand in one of three forms (`held`): tensors, Python
numbers, integers carried in floats; where a reader wants another form, a conversion is put between. Subgraphs become
modules of their own, which take what they capture from outside as arguments.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import onnx_ir
import torch
from torch import fx

from netwright.backends.torch import carrying, host
from netwright.backends.torch.bank import Bank
from netwright.backends.torch.binding import KEY, Latent
from netwright.backends.torch.dtypes import to_tensor, torch_dtype
from netwright.backends.torch.held import Carried, Held, InTensor, OnHost
from netwright.backends.torch.held import Literal as Numbers
from netwright.backends.torch.roles import Role, entry_of, parameter_name, role_of
from netwright.backends.torch.table import OpEntry, find_entry
from netwright.ir.errors import NetwrightError, UnsupportedModelError
from netwright.ir.opinfo import site
from netwright.ir.origin import origin_of
from netwright.ir.program import Program

TRAINED = "netwright.training"
"""Domain of entries that stand in for ONNX's own while a program is trained."""

Argument: TypeAlias = fx.node.Argument
"""What fx takes as an argument: nodes, numbers, and lists of them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a program is lowered.

    Attributes:
        trainable: parameters require gradients, and integers of a quantized program are carried.
        train_norms: BatchNormalization takes statistics from the batch while the module is training.
        weights: names of initializers that may become parameters; constants in bodies of functions do not.
        fused: what is computed by one call: by the node that ends the pattern; see `netwright.backends.torch.fuse`.
        inside: nodes that such a call makes needless.
    """

    trainable: bool
    train_norms: bool
    weights: frozenset[str]
    fused: Mapping[onnx_ir.Node, Fused] = field(default_factory=dict[onnx_ir.Node, "Fused"])
    inside: frozenset[onnx_ir.Node] = frozenset()


@dataclass(frozen=True, slots=True)
class Fused:
    """One call in the place of several nodes.

    Attributes:
        function: what computes it.
        inputs: the values that it takes as tensors, or None.
        keywords: its settings.
        training: whether it asks for the module's flag.
    """

    function: Callable[..., object]
    inputs: tuple[onnx_ir.Value | None, ...]
    keywords: Mapping[str, object]
    training: bool = False


class GraphBuilder:
    """Builds the fx graph of one ONNX graph.

    Args:
        program: the program, its functions inlined.
        bank: where tensors are registered.
        settings: how.
        parent: the builder of the graph around, for a subgraph.
    """

    def __init__(self, program: Program, bank: Bank, settings: Settings, parent: GraphBuilder | None = None) -> None:
        self.program = program
        self.bank = bank
        self.settings = settings
        self.graph = fx.Graph()
        self.captured: list[Held] = []
        """What the graph takes from around it, in the parent's form, in the order of its last arguments."""
        self._parent = parent
        self._held: dict[onnx_ir.Value, Held] = {}
        self._converted: dict[tuple[onnx_ir.Value, str], fx.Node] = {}
        self._attributes: dict[str, fx.Node] = {}
        self._device: fx.Node | None = None
        self._last_input: fx.Node | None = None

    # ---- the graph's own inputs and outputs --------------------------------------------------------------------

    def take(self, value: onnx_ir.Value, held: OnHost | Carried | None = None) -> fx.Node:
        """Make an argument of an input; it arrives as a tensor, or in the form that `held` has outside."""
        node = self._placeholder(value.name or "input")
        if held is None:
            self._held[value] = InTensor(node)
        elif isinstance(held, OnHost):
            self._held[value] = OnHost(node, held.dtype)
        else:
            self._held[value] = Carried(node, held.dtype)
        return node

    def lower(self, nodes: Sequence[onnx_ir.Node]) -> None:
        """Lower nodes in order."""
        for node in nodes:
            if node in self.settings.inside:
                continue
            if node in self.settings.fused:
                self._lower_fused(node, self.settings.fused[node])
            else:
                self._lower_node(node)

    def give(self, values: Sequence[onnx_ir.Value], *, single: bool) -> None:
        """End the graph: return values as tensors, in a tuple or, where `single`, the one value itself."""
        nodes = [self.tensor(value) for value in values]
        self.graph.output(nodes[0] if single else tuple(nodes))

    # ---- values in the form that a reader wants -----------------------------------------------------------------

    def held(self, value: onnx_ir.Value) -> Held:
        """A value as it is at hand, made so if it is a constant or belongs to a graph around.

        Raises:
            NetwrightError: nothing makes the value.
        """
        found = self._held.get(value)
        if found is None:
            found = self._capture(value) if self._parent is not None else self._constant(value)
            self._held[value] = found
        return found

    def tensor(self, value: onnx_ir.Value) -> fx.Node:
        """A value as a tensor of its own type."""
        held = self.held(value)
        if isinstance(held, InTensor):
            return held.node
        if (value, "tensor") not in self._converted:
            name = f"{value.name}_tensor"
            if isinstance(held, Carried):
                node = self.call(carrying.restore, (held.node,), {"dtype": torch_dtype(held.dtype)}, name=name)
            elif held.is_literal:
                node = self.get(self.bank.add_constant(value.name or "constant", torch.tensor(held.value, dtype=torch_dtype(held.dtype))))
            else:
                keywords = {"dtype": torch_dtype(held.dtype), "device": self.device()}
                node = self.call(host.from_host, (cast("fx.Node", held.value),), keywords, name=name)
            self._converted[value, "tensor"] = node
        return self._converted[value, "tensor"]

    def numbers(self, value: onnx_ir.Value) -> Argument:
        """A value as Python numbers: literal where known."""
        known = self._on_host(value)
        if known is not None:
            return known.value
        if (value, "host") not in self._converted:
            self._converted[value, "host"] = self.call(host.to_host, (self.tensor(value),), {}, name=f"{value.name}_numbers")
        return self._converted[value, "host"]

    def condition(self, value: onnx_ir.Value) -> fx.Node | bool:
        """A condition: known, a Python truth value, or a tensor."""
        known = self._on_host(value)
        if known is None:
            return self.tensor(value)
        found = known.value[0] if isinstance(known.value, list) else known.value
        return bool(found) if known.is_literal else cast("fx.Node", found)

    def number_or_tensor(self, value: onnx_ir.Value) -> Argument:
        """A count: Python's where it is known there, else a tensor."""
        known = self._on_host(value)
        if known is None:
            return self.tensor(value)
        return known.value[0] if isinstance(known.value, list) else known.value

    def carried(self, value: onnx_ir.Value) -> fx.Node:
        """A value whose integers may be carried in floats: as it is at hand."""
        held = self.held(value)
        return held.node if isinstance(held, Carried) else self.tensor(value)

    def device(self) -> fx.Node | torch.device:
        """Where tensors are to be made: where the first parameter or input is."""
        if self._device is None:
            likely = next((node for node in self.graph.nodes if node.op in ("get_attr", "placeholder") and self._is_tensor(node)), None)
            if likely is None:
                return torch.device("cpu")
            with self.graph.inserting_after(self._last_input if likely.op == "placeholder" and self._last_input else likely):
                self._device = self.graph.call_function(builtins.getattr, (likely, "device"))
                self._device.name = "device"
        return self._device

    # ---- building blocks for control flow -----------------------------------------------------------------------

    def call(self, function: Callable[..., object], args: Sequence[Argument], keywords: Mapping[str, Argument], *, name: str) -> fx.Node:
        """Put a call at the end of the graph."""
        return self.graph.create_node("call_function", function, tuple(args), dict(keywords), name=name)

    def get(self, path: str) -> fx.Node:
        """An attribute of the module; in a subgraph, an argument that brings it."""
        if path not in self._attributes:
            if self._parent is None:
                node = self.graph.create_node("get_attr", path, name=path.replace(".", "_"))
            else:
                self.captured.append(InTensor(self._parent.get(path)))
                node = self._placeholder(path.replace(".", "_"))
            self._attributes[path] = node
        return self._attributes[path]

    def child(self) -> GraphBuilder:
        """A builder for a subgraph."""
        return GraphBuilder(self.program, self.bank, self.settings, self)

    def module(self, name: str) -> str:
        """Finish a subgraph: its module is registered, and the path returned."""
        self._drop_unused_attributes()
        return self.bank.add_module(name, fx.GraphModule(torch.nn.Module(), self.graph))

    def bind(self, value: onnx_ir.Value, held: Held) -> None:
        """Say how a value is at hand."""
        self._held[value] = held

    def bind_outputs(self, node: onnx_ir.Node, made: fx.Node, form: Callable[[onnx_ir.Value, fx.Node], Held], *, several: bool) -> None:
        """Take a call's result apart into the node's outputs."""
        self.annotate(made, node)
        if not several:
            self._held[node.outputs[0]] = form(node.outputs[0], made)
            return
        for index, output in enumerate(node.outputs):
            if not output.name:
                continue
            part = self.graph.create_node("call_function", item, (made, index), {}, name=output.name)
            self.annotate(part, node)
            self._held[output] = form(output, part)

    def annotate(self, made: fx.Node, node: onnx_ir.Node) -> None:
        """Give an fx node the provenance of the ONNX node that it comes from."""
        origin = origin_of(node)
        made.meta[KEY] = {
            "value": made.name if not node.outputs else site(node),
            "op_type": f"{node.domain}::{node.op_type}" if node.domain else node.op_type,
            "module": origin.module,
            "class": origin.cls,
            "source": origin.source,
            "by": origin.by,
        }
        if origin.source:
            made.meta["stack_trace"] = f"{origin.source} {origin.module}".strip()

    # ---- nodes --------------------------------------------------------------------------------------------------

    def _lower_node(self, node: onnx_ir.Node) -> None:
        from netwright.backends.torch.control import CONTROL

        if not node.domain and node.op_type in CONTROL:
            CONTROL[node.op_type](self, node)
            return
        if self._lower_on_host(node):
            return
        if node.op_type == "Constant" and not node.domain:
            self._lower_constant_node(node)
            return
        entry = entry_of(node, self.program)
        if entry is None:
            raise UnsupportedModelError(f"The torch backend has no entry for {node.op_type}.", place=site(node))
        self._lower_entry(node, self._trained_norm(node, entry))

    def _lower_entry(self, node: onnx_ir.Node, entry: OpEntry) -> None:
        args = self._arguments(node, entry)
        keywords = {**self._attribute_arguments(node, entry), **self._requested(node, entry)}
        several = len(node.outputs) > 1 or _returns_tuple(entry)
        name = node.outputs[0].name if not several else f"{node.outputs[0].name or node.op_type}_all"
        made = self.call(entry.function, args, keywords, name=name or node.op_type)
        moved = self._moves_carried(node, entry)
        carries = self.settings.trainable and ("carried" in entry.requests or moved)

        def form(value: onnx_ir.Value, part: fx.Node) -> Held:
            dtype = value.dtype
            if carries and dtype is not None and dtype.is_integer():
                return Carried(part, dtype)
            return InTensor(part)

        self.bind_outputs(node, made, form, several=several)

    def _lower_fused(self, node: onnx_ir.Node, fused: Fused) -> None:
        args = [None if value is None else self.tensor(value) for value in fused.inputs]
        keywords = dict(fused.keywords)
        if fused.training:
            keywords["training"] = self._training()
        made = self.call(fused.function, args, keywords, name=node.outputs[0].name or node.op_type)
        self.bind_outputs(node, made, lambda value, part: InTensor(part), several=False)

    def _arguments(self, node: onnx_ir.Node, entry: OpEntry) -> list[Argument]:
        moved = self._moves_carried(node, entry)
        args: list[Argument] = []
        for index, value in enumerate(node.inputs):
            name = parameter_name(entry, index)
            if index >= len(entry.inputs) and not entry.variadic:
                raise UnsupportedModelError(
                    f"{node.op_type} takes {len(entry.inputs)} inputs in the torch backend, and this node has {len(node.inputs)}.",
                    place=site(node),
                )
            if value is None:
                args.append(None)
            elif name in entry.host:
                args.append(self.numbers(value))
            elif name in entry.carries or (name in entry.moves and moved):
                args.append(self.carried(value))
            else:
                args.append(self.tensor(value))
        while args and args[-1] is None:
            args.pop()
        return args

    def _moves_carried(self, node: onnx_ir.Node, entry: OpEntry) -> bool:
        """True where all that is moved is carried."""
        moved = [value for index, value in enumerate(node.inputs) if value is not None and parameter_name(entry, index) in entry.moves]
        return bool(moved) and all(isinstance(self.held(value), Carried) for value in moved)

    def _attribute_arguments(self, node: onnx_ir.Node, entry: OpEntry) -> dict[str, Argument]:
        found: dict[str, Argument] = {}
        for name, attribute in node.attributes.items():
            if name not in entry.attributes:
                self._require_default(node, name, attribute)
                continue
            if attribute.type == onnx_ir.AttributeType.TENSOR:
                found[name] = self._tensor_attribute(node, name, attribute.as_tensor())
            elif name in entry.dtypes:
                found[name] = torch_dtype(attribute.as_int()) if attribute.as_int() else None
            else:
                found[name] = _plain(attribute)
        return found

    def _tensor_attribute(self, node: onnx_ir.Node, name: str, tensor: onnx_ir.TensorProtocol) -> fx.Node:
        return self.get(self.bank.add_constant(f"{site(node)}_{name}", to_tensor(tensor.numpy()).clone()))

    def _require_default(self, node: onnx_ir.Node, name: str, attribute: onnx_ir.Attr) -> None:
        from netwright.ir.opinfo import default_of

        default = default_of(node, name, self.program.model.opset_imports.get(node.domain, 1))
        value = _plain(attribute)
        if (
            value == default
            or (isinstance(value, tuple) and isinstance(default, Sequence) and list(value) == list(default))
            or value in ((), "")
        ):
            return
        raise UnsupportedModelError(
            f"The torch backend's {node.op_type} does not take the attribute {name}={value!r}.",
            place=site(node),
            remedy=f'Register an entry that does: @torch_op("{node.op_type}").',
        )

    def _requested(self, node: onnx_ir.Node, entry: OpEntry) -> dict[str, Argument]:
        found: dict[str, Argument] = {}
        if "device" in entry.requests:
            found["device"] = self.device()
        if "training" in entry.requests:
            found["training"] = self._training()
        if "wanted" in entry.requests:
            found["wanted"] = tuple(bool(output.name) and (bool(output.uses()) or output.is_graph_output()) for output in node.outputs)
        if "opset" in entry.requests:
            found["opset"] = self.program.model.opset_imports.get(node.domain, 1)
        if "carried" in entry.requests and self.settings.trainable:
            found["carried"] = True
        return found

    def _trained_norm(self, node: onnx_ir.Node, entry: OpEntry) -> OpEntry:
        if not self.settings.train_norms or node.domain or node.op_type != "BatchNormalization":
            return entry
        trained = find_entry(node.op_type, TRAINED, 1)
        assert trained is not None, "the table has BatchNormalization for training"
        return trained

    def _training(self) -> fx.Node:
        """The module's own flag; in a subgraph, brought by an argument."""
        return self.get("training")

    # ---- Python numbers -----------------------------------------------------------------------------------------

    def _lower_on_host(self, node: onnx_ir.Node) -> bool:
        """Lower a node to Python numbers where it is arithmetic on sizes; True if that was possible."""
        if node.domain:
            return False
        if node.op_type in ("Shape", "Size"):
            return self._lower_size(node)
        operands = [None if value is None else self._on_host(value) for value in node.inputs]
        if not operands or any(operand is None and value is not None for operand, value in zip(operands, node.inputs, strict=True)):
            return False
        if any(output.shape is not None and len(output.shape) > 1 for output in node.outputs):
            return False
        if node.op_type in ("Cast", "CastLike"):
            return self._lower_host_cast(node, [operand for operand in operands if operand is not None])
        function = host.HOST_OPS.get(node.op_type)
        if function is None or not _fits_host(node, operands):
            return False
        keywords = {
            name: _plain(attribute) for name, attribute in node.attributes.items() if attribute.type != onnx_ir.AttributeType.TENSOR
        }
        dtype = next((operand.dtype for operand in reversed(operands) if operand is not None), onnx_ir.DataType.INT64)
        if node.op_type in _COMPARISONS:
            dtype = onnx_ir.DataType.BOOL
        elif node.op_type in _FIRST_TYPED:
            dtype = cast("OnHost", operands[0]).dtype
        if node.op_type == "ConstantOfShape":
            tensor = node.attributes["value"].as_tensor() if "value" in node.attributes else None
            dtype = onnx_ir.DataType.FLOAT if tensor is None else tensor.dtype
            keywords = {"value": 0.0 if tensor is None else tensor.numpy().reshape(-1)[0].item()}
        self._bind_host(node, function, operands, keywords, dtype)
        return True

    def _lower_size(self, node: onnx_ir.Node) -> bool:
        assert node.inputs[0] is not None
        keywords = {name: attribute.as_int() for name, attribute in node.attributes.items() if name in ("start", "end")}
        if isinstance(self._held.get(node.inputs[0]), OnHost):
            return False
        function = host.shape_of if node.op_type == "Shape" else host.size_of
        source = self.carried(node.inputs[0])
        made = self.call(function, (source,), keywords, name=node.outputs[0].name or node.op_type)
        self.annotate(made, node)
        self._held[node.outputs[0]] = OnHost(made, onnx_ir.DataType.INT64)
        return True

    def _lower_host_cast(self, node: onnx_ir.Node, operands: Sequence[OnHost]) -> bool:
        target = onnx_ir.DataType(node.attributes["to"].as_int()) if node.op_type == "Cast" else operands[1].dtype
        kind = host.cast_kind(target)
        if kind is None:
            return False
        if kind == host.cast_kind(operands[0].dtype):
            self._held[node.outputs[0]] = OnHost(operands[0].value, target)
            return True
        self._bind_host(node, host.cast, [operands[0]], {"kind": kind}, target)
        return True

    def _bind_host(
        self,
        node: onnx_ir.Node,
        function: Callable[..., object],
        operands: Sequence[OnHost | None],
        keywords: Mapping[str, Argument],
        dtype: onnx_ir.DataType,
    ) -> None:
        """Compute at once what is known, else put the call into the graph."""
        values = [None if operand is None else operand.value for operand in operands]
        several = node.op_type == "Split"
        if all(operand is None or operand.is_literal for operand in operands):
            found = function(*values, **keywords)
            for output, part in zip(
                node.outputs, cast("tuple[Numbers, ...]", found) if several else (cast("Numbers", found),), strict=False
            ):
                self._held[output] = OnHost(part, dtype)
            return
        name = node.outputs[0].name or node.op_type
        made = self.call(function, values, keywords, name=f"{name}_all" if several else name)
        self.bind_outputs(node, made, lambda value, part: OnHost(part, dtype), several=several)

    def _on_host(self, value: onnx_ir.Value) -> OnHost | None:
        """A value as Python numbers, if it is there so already or a small constant."""
        held = self._held.get(value)
        if held is None:
            literal = self._literal(value)
            if literal is not None or self._parent is None:
                return literal
            outer = self._parent._on_host(value) if not self._own(value) else None
            return cast("OnHost", self.held(value)) if outer is not None else None
        if isinstance(held, OnHost):
            return held
        return self._literal(value)

    def _own(self, value: onnx_ir.Value) -> bool:
        return value in self._held

    def _literal(self, value: onnx_ir.Value) -> OnHost | None:
        """The numbers of a small constant."""
        if not value.is_initializer() or value.is_graph_input():
            return None
        tensor = value.const_value
        if tensor is None or len(tensor.shape) > 1 or tensor.size > host.LARGEST or host.cast_kind(tensor.dtype) is None:
            return None
        if (
            host.cast_kind(tensor.dtype) == "float"
            and value.name in self.settings.weights
            and role_of(value, self.program) is Role.PARAMETER
        ):
            return None
        return OnHost(cast("Numbers", tensor.numpy().tolist()), tensor.dtype)

    # ---- constants ----------------------------------------------------------------------------------------------

    def _constant(self, value: onnx_ir.Value) -> Held:
        if value.const_value is None:
            raise NetwrightError(f"Nothing makes the value %{value.name}.", place=value.name)
        role = role_of(value, self.program) if value.name in self.settings.weights else Role.BUFFER
        if role is Role.LATENT and self.settings.trainable:
            return self._latent(value)
        literal = self._literal(value)
        if literal is not None and len(value.const_value.shape) == 0 and value.dtype is not None and value.dtype.is_integer():
            return literal
        return InTensor(self.get(self.bank.add(value, Role.BUFFER if role is Role.LATENT else role)))

    def _latent(self, value: onnx_ir.Value) -> Held:
        """Integer weights as the rounding of trained floats: in real units where a DequantizeLinear says what they stand for."""
        assert value.const_value is not None
        dtype = value.const_value.dtype
        latent, real = carrying.latent_of(value, _first_reader(value))
        node = self.get(self.bank.add(value, role=Role.LATENT, latent=latent, real=real))
        scale = None if latent.scale is None else self.program.graph.initializers[latent.scale]
        zero = None if latent.zero_point is None else self.program.graph.initializers[latent.zero_point]
        made = self._requantized(node, latent, scale, zero, f"{value.name}_rounded")
        return Carried(made, dtype)

    def _requantized(self, node: fx.Node, latent: Latent, scale: onnx_ir.Value | None, zero: onnx_ir.Value | None, name: str) -> fx.Node:
        if scale is None:
            return self.call(carrying.round_latent, (node,), {"low": latent.low, "high": latent.high}, name=name)
        args = (node, self.tensor(scale), None if zero is None else self.tensor(zero))
        keywords = {"axis": latent.axis, "block_size": latent.block_size, "low": latent.low, "high": latent.high}
        return self.call(carrying.requantize_latent, args, keywords, name=name)

    def _lower_constant_node(self, node: onnx_ir.Node) -> None:
        """Constants are lifted to initializers on load; those left stand in bodies of functions."""
        for name, attribute in node.attributes.items():
            if attribute.type == onnx_ir.AttributeType.TENSOR:
                tensor = attribute.as_tensor()
                small = len(tensor.shape) <= 1 and tensor.size <= host.LARGEST and host.cast_kind(tensor.dtype) is not None
                numbers = OnHost(cast("Numbers", tensor.numpy().tolist()), tensor.dtype) if small else None
                self._held[node.outputs[0]] = numbers or InTensor(self._tensor_attribute(node, name, tensor))
                return
            dtype = onnx_ir.DataType.FLOAT if name.startswith("value_float") else onnx_ir.DataType.INT64
            if name in ("value_int", "value_ints", "value_float", "value_floats"):
                plain = _plain(attribute)
                self._held[node.outputs[0]] = OnHost(list(plain) if isinstance(plain, tuple) else cast("Numbers", plain), dtype)
                return
        raise UnsupportedModelError("torch has no tensors of strings.", place=site(node))

    # ---- capture ------------------------------------------------------------------------------------------------

    def _capture(self, value: onnx_ir.Value) -> Held:
        assert self._parent is not None
        outer = self._parent.held(value)
        if isinstance(outer, OnHost) and outer.is_literal:
            return outer
        self.captured.append(outer)
        node = self._placeholder(value.name or "captured")
        if isinstance(outer, OnHost):
            return OnHost(node, outer.dtype)
        return Carried(node, outer.dtype) if isinstance(outer, Carried) else InTensor(node)

    def _placeholder(self, name: str) -> fx.Node:
        """An argument, after those that there are."""

        def make() -> fx.Node:
            return self.graph.placeholder(_identifier(name))

        if self._last_input is None:
            first = next(iter(self.graph.nodes), None)
            if first is None:
                self._last_input = make()
            else:
                with self.graph.inserting_before(first):
                    self._last_input = make()
        else:
            with self.graph.inserting_after(self._last_input):
                self._last_input = make()
        return self._last_input

    def _is_tensor(self, node: fx.Node) -> bool:
        if node.op == "get_attr":
            return str(node.target) != "training"
        return any(isinstance(held, InTensor | Carried) and held.node is node for held in self._held.values())

    def _drop_unused_attributes(self) -> None:
        for node in reversed(list(self.graph.nodes)):
            if node.op == "get_attr" and not node.users:
                self.graph.erase_node(node)


_COMPARISONS = frozenset({"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Not", "And", "Or"})
_FIRST_TYPED = frozenset(
    {"Gather", "Slice", "Reshape", "Squeeze", "Unsqueeze", "Split", "ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin"}
)


def item(values: object, index: int) -> object:
    """One of several results; an entry of which only the first is wanted may return that alone."""
    return cast("Sequence[object]", values)[index] if isinstance(values, tuple | list) else values


def _first_reader(value: onnx_ir.Value) -> tuple[onnx_ir.Node, int]:
    use = next(iter(value.uses()))
    return use.node, use.idx


def _returns_tuple(entry: OpEntry) -> bool:
    """True for an entry that says it returns a tuple, even where the node has one output."""
    return "tuple" in str(inspect.signature(entry.function).return_annotation)


def _fits_host(node: onnx_ir.Node, operands: Sequence[OnHost | None]) -> bool:
    """False where ranks are not those that the host's functions assume."""
    first = operands[0]
    if node.op_type == "ConstantOfShape":
        return (
            first is not None
            and isinstance(first.value, list)
            and len(first.value) <= 1
            and all(isinstance(size, int) and size <= host.LARGEST for size in first.value)
            and ("value" not in node.attributes or host.cast_kind(node.attributes["value"].as_tensor().dtype) is not None)
        )
    if node.op_type in ("Unsqueeze", "Squeeze", "Reshape", "Gather", "Slice", "Split", "Concat"):
        return all(output.shape is not None for output in node.outputs) and all(
            value is None or value.shape is not None or value.const_value is not None for value in node.inputs
        )
    return True


def _plain(attribute: onnx_ir.Attr) -> object:
    """An attribute's value in Python's types."""
    value = attribute.value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(cast("Sequence[object]", value))
    return value.decode() if isinstance(value, bytes) else value


def _identifier(name: str) -> str:
    """A name that Python takes for an argument."""
    text = "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in name)
    return text if text.isidentifier() else f"_{text}"
