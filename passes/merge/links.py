"""Linear operators with constant weights and what stands right behind them: constant factors and biases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir

from netwright.ir.opinfo import float_attr, has_references, int_attr, is_float, is_standard
from netwright.ir.origin import origin_of
from netwright.ir.program import array, constant
from netwright.ir.shapes import rank
from netwright.passes.merge.forms import Convolution, Form, Lookup, Product
from netwright.passes.simplify.match import only_reader, producer, scalar, split_constant
from netwright.passes.simplify.parameters import channel_numbers
from netwright.passes.statistics.layers import constant_root, layer_of

_TAIL = ("Add", "Mul", "Div", "Identity")
"""What may stand between two linear operators."""

_MOST_STEPS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One linear operator of a chain: `scale · W x + bias` at every place.

    Attributes:
        node: MatMul, Gemm, Conv, ConvTranspose or Gather.
        data: what it reads; of a Gather the indices.
        end: what it gives, constant factors and biases behind it included.
        weight: the constant.
        turned: whether the form's layout is the stored weight's transpose.
        form: its shape and geometry.
        scale: of everything that multiplies the weight.
        bias: per output channel; None where there is none.
        fixed: why the bias of the node cannot be changed, as the end of a sentence; empty where it can.
        nodes: the node and those behind it, in order.
    """

    node: onnx_ir.Node
    data: onnx_ir.Value
    end: onnx_ir.Value
    weight: onnx_ir.Value
    turned: bool
    form: Form
    scale: float
    bias: np.ndarray | None
    fixed: str
    nodes: tuple[onnx_ir.Node, ...]

    @property
    def numbers(self) -> np.ndarray:
        """The weight in its form's layout, scale included, float64."""
        data = array(self.weight)
        assert data is not None, "found by its constant weight"
        return (data.T if self.turned else data).astype(np.float64) * self.scale

    @property
    def name(self) -> str:
        """The weight's."""
        return self.weight.name or ""

    @property
    def names(self) -> tuple[str, ...]:
        """What patterns are held against: the weight's name and the module's."""
        return (self.name, origin_of(self.node).module)


def link_of(node: onnx_ir.Node | None) -> Link | None:
    """The node as a link, without what stands behind it; None where it is no linear operator with a constant weight."""
    if node is None or has_references(node) or not is_standard(node, "MatMul", "Gemm", "Conv", "ConvTranspose", "Gather"):
        return None
    if node.op_type in ("Conv", "ConvTranspose"):
        return _convolution(node)
    if node.op_type == "Gather":
        return _lookup(node)
    found = layer_of(node)
    if found is None:
        return _gemm_from_the_left(node) if node.op_type == "Gemm" else None
    turned = node.op_type == "Gemm" and bool(int_attr(node, "transA", 0))
    form = Product(found.outputs, found.channels, found.left, turned)
    bias, fixed = _bias(node, form) if node.op_type == "Gemm" else (None, "")
    return Link(node, found.data, node.outputs[0], found.weight, found.in_axis == 0, form, found.scale, bias, fixed, (node,))


def _gemm_from_the_left(node: onnx_ir.Node) -> Link | None:
    """Alpha · W x + beta · C, places along the last axis."""
    (root, behind), data, alpha = constant_root(node.inputs[0]), node.inputs[1], float_attr(node, "alpha", 1.0)
    tensor = constant(root)
    if root is None or tensor is None or data is None or constant_root(data)[0] is not None or alpha == 0.0:
        return None
    turned = behind != bool(int_attr(node, "transA", 0))
    outputs, inputs = tuple(tensor.shape.numpy())[:: -1 if turned else 1]
    form = Product(outputs, inputs, left=True, turned=bool(int_attr(node, "transB", 0)))
    bias, fixed = _bias(node, form)
    return Link(node, data, node.outputs[0], root, turned, form, alpha, bias, fixed, (node,))


def _convolution(node: onnx_ir.Node) -> Link | None:
    x, (root, turned) = node.inputs[0], constant_root(node.inputs[1])
    tensor = constant(root)
    if x is None or root is None or tensor is None or turned or len(tensor.shape) < 3:
        return None
    form = Convolution.of(node, tuple(tensor.shape.numpy()))
    bias, fixed = _bias(node, form)
    return Link(node, x, node.outputs[0], root, False, form, 1.0, bias, fixed, (node,))


def _lookup(node: onnx_ir.Node) -> Link | None:
    (root, turned), indices = constant_root(node.inputs[0]), node.inputs[1]
    tensor = constant(root)
    if root is None or tensor is None or indices is None or len(tensor.shape) != 2 or int_attr(node, "axis", 0) != 0:
        return None
    if constant(indices) is not None:
        return None
    entries, features = tuple(tensor.shape.numpy())[:: -1 if turned else 1]
    return Link(node, indices, node.outputs[0], root, not turned, Lookup(features, entries), 1.0, None, "", (node,))


def _bias(node: onnx_ir.Node, form: Form) -> tuple[np.ndarray | None, str]:
    given = node.inputs[2] if len(node.inputs) > 2 else None
    beta = float_attr(node, "beta", 1.0) if node.op_type == "Gemm" else 1.0
    if given is None or beta == 0.0:
        return None, ""
    axis, count = (form.channel_axis % 2, 2) if isinstance(form, Product) else (0, 1)
    numbers = channel_numbers(given, form.outputs, axis, count)
    if numbers is None:
        return None, f"the bias %{given.name} is not one constant number per channel"
    return beta * numbers, ""


def with_tail(link: Link, steps: Sequence[onnx_ir.Node]) -> Link | None:
    """The link with nodes of constants behind it, in order; None where one of them is neither a factor nor a bias."""
    for node in steps:
        stepped = _stepped(link, node)
        if stepped is None:
            return None
        link = stepped
    return link


def _stepped(link: Link, node: onnx_ir.Node) -> Link | None:
    further = replace(link, end=node.outputs[0], nodes=(*link.nodes, node))
    if node.op_type == "Identity":
        return further
    split = split_constant(node)
    if split is None or split[0] is not link.end or not is_float(split[1].dtype):
        return None
    if node.op_type == "Add":
        count = rank(link.end) or (len(link.form.shape) if isinstance(link.form, Convolution) else None)
        tensor = constant(split[1])
        if count is None:
            count = 1 if tensor is not None and len(tensor.shape) <= 1 and link.form.channel_axis == -1 else None
        added = None if count is None else channel_numbers(split[1], link.form.outputs, link.form.channel_axis % count, count)
        if added is None or link.fixed:
            return None
        return replace(further, bias=added if link.bias is None else link.bias + added)
    number = scalar(split[1], link.end)
    if number is None or link.fixed or (node.op_type == "Div" and (number == 0.0 or split[1] is not node.inputs[1])):
        return None
    factor = number if node.op_type == "Mul" else 1.0 / number
    return replace(further, scale=link.scale * factor, bias=None if link.bias is None else link.bias * factor)


def link_ending(value: onnx_ir.Value | None) -> Link | None:
    """The link that gives a value, through constant factors and biases; None where no such link does."""
    steps: list[onnx_ir.Node] = []
    while value is not None and len(steps) < _MOST_STEPS:
        node = producer(value, *_TAIL)
        if node is None:
            link = link_of(value.producer())
            return None if link is None else with_tail(link, steps[::-1])
        split = (node.inputs[0], None) if node.op_type == "Identity" else split_constant(node)
        if split is None:
            return None
        steps.append(node)
        value = split[0]
    return None


def inner_values(link: Link) -> Iterator[onnx_ir.Value]:
    """What its nodes give, the last one's result included."""
    return (node.outputs[0] for node in link.nodes)


def read_beside(link: Link) -> onnx_ir.Value | None:
    """The first of its values that something other than the next node reads too; None where each has one reader."""
    return next((value for value in inner_values(link) if only_reader(value) is None), None)


def with_bias_behind(link: Link) -> Link:
    """The link with the Add of a bias that alone reads it, if there is one."""
    node = only_reader(link.end)
    if node is None or not is_standard(node, "Add"):
        return link
    return _stepped(link, node) or link


def following(link: Link) -> Link | None:
    """The link that alone reads what this one gives, through constant factors and biases."""
    value = link.end
    for _ in range(_MOST_STEPS):
        node = only_reader(value)
        if node is None:
            return None
        after = link_of(node)
        if after is not None and after.data is value:
            before = link_ending(value)
            return after if before is not None and before.node is link.node else None
        if not is_standard(node, *_TAIL):
            return None
        value = node.outputs[0]
    return None
