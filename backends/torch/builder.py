"""One graph of a program, node by node, as an fx graph.

Each ONNX node becomes a call of its entry's function. Values are at hand in one of three forms (`held`): tensors, Python
numbers, integers carried in floats; where a reader wants another form, a conversion is put between. Subgraphs become
modules of their own, which take what they capture from outside as arguments.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast

import onnx_ir
import torch
from torch import fx
from torch.fx.node import Argument as FxArgument

from netwright.backends.torch import carrying, host
from netwright.backends.torch.bank import Bank
from netwright.backends.torch.binding import KEY
from netwright.backends.torch.code import ReadableCode
from netwright.backends.torch.constants import literal, lower_initializer
from netwright.backends.torch.dtypes import torch_dtype
from netwright.backends.torch.held import Carried, Held, InTensor, OnHost
from netwright.backends.torch.nodes import lower_fused, lower_node
from netwright.backends.torch.settings import Settings
from netwright.ir.opinfo import site
from netwright.ir.origin import origin_of
from netwright.ir.program import Program

Argument: TypeAlias = FxArgument
"""What fx takes as an argument: nodes, numbers, and lists of them."""


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
        self.graph.set_codegen(ReadableCode())
        self.captured: list[Held] = []
        """What the graph takes from around it, in the parent's form, in the order of its last arguments."""
        self._parent = parent
        self._held: dict[onnx_ir.Value, Held] = {}
        self._converted: dict[tuple[onnx_ir.Value, str], fx.Node] = {}
        self._attributes: dict[str, fx.Node] = {}
        self._device: fx.Node | None = None
        self._last_input: fx.Node | None = None

    # ---- the graph's own inputs and outputs --------------------------------------------------------------------

    def take(self, value: onnx_ir.Value) -> None:
        """Make an argument of an input; it arrives as a tensor."""
        self._held[value] = InTensor(self._placeholder(value.name or "input"))

    def lower(self, nodes: Sequence[onnx_ir.Node]) -> None:
        """Lower nodes in order."""
        for node in nodes:
            if node in self.settings.inside:
                continue
            if node in self.settings.fused:
                lower_fused(self, node, self.settings.fused[node])
            else:
                lower_node(self, node)

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
            found = self._capture(value) if self._parent is not None else lower_initializer(self, value)
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
        known = self.known(value)
        if known is not None:
            return known.value
        if (value, "host") not in self._converted:
            self._converted[value, "host"] = self.call(host.to_host, (self.tensor(value),), {}, name=f"{value.name}_numbers")
        return self._converted[value, "host"]

    def condition(self, value: onnx_ir.Value) -> fx.Node | bool:
        """A condition: known, a Python truth value, or a tensor."""
        known = self.known(value)
        if known is None:
            return self.tensor(value)
        found = known.value[0] if isinstance(known.value, list) else known.value
        return bool(found) if known.is_literal else cast("fx.Node", found)

    def number(self, value: onnx_ir.Value) -> bool | int | float | None:
        """A value of rank 0 as a number, if it is known at lowering."""
        known = self.known(value)
        return known.value if known is not None and isinstance(known.value, bool | int | float) else None

    def number_or_tensor(self, value: onnx_ir.Value) -> Argument:
        """A count: Python's where it is known there, else a tensor."""
        known = self.known(value)
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
                self._device = self.graph.create_node("call_function", host.device_of, (likely,), name="on_device")
        return self._device

    def known(self, value: onnx_ir.Value) -> OnHost | None:
        """A value as Python numbers, if it is there so already or is a small constant."""
        held = self._held.get(value)
        if isinstance(held, OnHost):
            return held
        small = literal(self, value)
        if small is not None or held is not None or self._parent is None:
            return small
        outer = self._parent.known(value)
        return None if outer is None else cast("OnHost", self.held(value))

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
        return self.bank.add_module(name, fx.GraphModule(torch.nn.Module(), self.graph))

    def bind(self, value: onnx_ir.Value, held: Held) -> None:
        """Say how a value is at hand."""
        self._held[value] = held

    def bind_outputs(
        self, node: onnx_ir.Node, made: fx.Node, form: Callable[[onnx_ir.Value, fx.Node], Held], *, several: bool, exact: bool = True
    ) -> None:
        """Take a call's result apart into the node's outputs.

        Args:
            node: the node.
            made: the call.
            form: how an output is at hand.
            several: whether the result is a tuple.
            exact: whether it always is; else it may be the first output alone.
        """
        self.annotate(made, node)
        if not several:
            self._held[node.outputs[0]] = form(node.outputs[0], made)
            return
        taking = operator.getitem if exact else item
        for index, output in enumerate(node.outputs):
            if not output.name:
                continue
            part = self.graph.create_node("call_function", taking, (made, index), {}, name=output.name)
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


def item(values: object, index: int) -> object:
    """One of several results; an entry of which only the first is wanted may return that alone."""
    return cast("Sequence[object]", values)[index] if isinstance(values, tuple | list) else values


def _identifier(name: str) -> str:
    """A name that Python takes for an argument."""
    text = "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in name)
    return text if text.isidentifier() else f"_{text}"
