"""Rule: a product in front of an LSTM, GRU or RNN goes into the weights that its input meets."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Mapped
from netwright.ir.opinfo import has_references, ints_attr, is_float
from netwright.ir.origin import origin_of
from netwright.ir.program import Program, array, constant
from netwright.passes.merge.forms import Product
from netwright.passes.merge.links import Link, link_ending, read_beside
from netwright.passes.merge.naming import gate_map, product_name, put_weight, take_name
from netwright.passes.merge.ownership import freed, owner_of
from netwright.passes.merge.policy import Measure, Policy, Size
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Match
from netwright.passes.simplify.match import only_reader, producer, reader
from netwright.passes.timing import change_by


@dataclass(frozen=True, slots=True, eq=False)
class Gates:
    """A recurrent layer behind a product.

    Attributes:
        node: LSTM, GRU or RNN.
        before: the product.
        turn: the Transpose of time and batch between; None where there is none.
        weight: W, [directions, gates · units, features].
        bias: B, [directions, 2 · gates · units]; None where it is left out.
    """

    node: onnx_ir.Node
    before: Link
    turn: onnx_ir.Node | None
    weight: onnx_ir.Value
    bias: onnx_ir.Value | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of W."""
        tensor = constant(self.weight)
        assert tensor is not None, "found by its constant weight"
        return tuple(tensor.shape.numpy())

    def product(self) -> np.ndarray:
        """W M for each direction, float64."""
        data = array(self.weight)
        assert data is not None, "found by its constant weight"
        return data.astype(np.float64) @ self.before.numbers

    def summand(self) -> np.ndarray:
        """What B becomes for the product's bias: W b is added to its first half."""
        data, old = array(self.weight), array(self.bias)
        assert data is not None, "found by its constant weight"
        assert self.before.bias is not None, "asked for where there is one"
        pushed = data.astype(np.float64) @ self.before.bias
        whole = np.concatenate([pushed, np.zeros_like(pushed)], axis=1)
        return whole if old is None else whole + old


def into_gates(policy: Policy) -> Match:
    """The rule, under a policy; it looks at the recurrent layer."""

    def match(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
        found = _gates(node)
        if found is None or isinstance(found, Miss):
            return found
        directions, gates, _ = found.shape
        form = found.before.form
        assert isinstance(form, Product), "guarded"
        nodes = {*found.before.nodes, node}
        counted = freed((found.before.weight, found.weight), nodes)
        old = prod(found.shape) if found.weight in counted else 0
        bias = 0 if found.before.bias is None else found.before.bias.size
        kept = form.size if found.before.weight in counted else 0
        factors = Size(old + kept + bias, prod(found.shape) + form.size)
        size = directions * gates * form.columns
        extra = 2 * directions * gates if bias and found.bias is None else 0
        what = f"{form.describe()} and the gates' {directions * gates}×{found.shape[2]}"
        read = [value for value in node.outputs if value.uses() or value.is_graph_output()]
        measure = Measure(program, _given(found), read, change_by(into_gates(Policy("always"))))
        reason = policy.excluded([*found.before.names, found.weight.name or "", origin_of(node).module])
        reason = reason or policy.refusal(factors, Size(size + extra, size), what, measure)
        if reason:
            return Miss(reason, site_of(node))
        why = f"{what} multiplied into {directions * gates}×{form.columns}"
        return Rewrite.edit(site_of(node), why, lambda editor: _carry_out(editor, found), anchor=node)

    return match


def layer_behind(value: onnx_ir.Value) -> onnx_ir.Node | None:
    """The recurrent layer whose input a value alone becomes, past a Transpose of time and batch or not."""
    turn = reader(value, "Transpose")
    data = value if turn is None else turn.outputs[0]
    layer = reader(data, "LSTM", "GRU", "RNN")
    return layer if layer is not None and layer.inputs[0] is data else None


def _given(found: Gates) -> list[onnx_ir.Value]:
    states = [value for value in found.node.inputs[4:] if value is not None and constant(value) is None]
    return list(dict.fromkeys([found.before.data, *states]))


def _gates(node: onnx_ir.Node) -> Gates | Miss | None:
    turn = _turn(node.inputs[0])
    before = link_ending(node.inputs[0] if turn is None else turn.inputs[0])
    weight = node.inputs[1]
    tensor = constant(weight)
    if before is None or weight is None or tensor is None or not is_float(tensor.dtype) or has_references(node):
        return None
    if not isinstance(before.form, Product) or before.form.left or before.form.turned:
        return None
    bias = node.inputs[3] if len(node.inputs) > 3 else None
    shared = read_beside(before) or (None if turn is None or only_reader(turn.outputs[0]) else turn.outputs[0])
    reason = before.fixed
    if shared is not None:
        reason = f"the value between, %{shared.name}, " + (
            "is an output of its graph" if shared.is_graph_output() else f"has {len(shared.uses())} readers"
        )
    elif before.bias is not None and bias is not None and constant(bias) is None:
        reason = f"the bias %{bias.name} is not constant"
    if reason:
        return Miss(f"kept as factors: {reason}", site_of(node))
    return Gates(node, before, turn, weight, bias)


def _turn(data: onnx_ir.Value | None) -> onnx_ir.Node | None:
    """A Transpose that leaves the features where they are, at which products may pass."""
    node = producer(data, "Transpose")
    perm = () if node is None else ints_attr(node, "perm", ())
    return node if perm and perm[-1] == len(perm) - 1 else None


def _carry_out(editor: Editor, found: Gates) -> None:
    node, before = found.node, found.before
    dtype = found.weight.dtype
    assert dtype is not None, "a float constant"
    editor.at(node)
    name = product_name([before.name, found.weight.name or "weight"])
    going = freed((before.weight, found.weight), {*before.nodes, node})
    sources = (found.weight.name or "", before.name)
    weight = put_weight(editor, found.product().astype(dtype.numpy()), name, owner_of(found.weight), going)
    editor.map(weight.name or "", Mapped(gate_map(before, found.shape), sources))
    if before.bias is not None:
        bias = editor.constant(found.summand().astype(dtype.numpy()), f"{name}.bias")
        if found.bias is not None and freed((found.bias,), (node,)):
            take_name(editor, bias, found.bias)
        if len(node.inputs) < 4:
            editor.resize_inputs(node, 4)
        editor.set_input(node, 3, bias)
    editor.set_input(node, 1, weight)
    data = before.data
    if found.turn is not None:
        perm = list(ints_attr(found.turn, "perm", ()))
        data = editor.op("Transpose", [data], {"perm": perm}, name=found.turn.outputs[0].name or "")
    editor.set_input(node, 0, data)
    for old in (found.weight, found.bias):
        if old is not None and old.is_initializer() and not (old.uses() or old.is_graph_output() or old.is_graph_input()):
            editor.remove_initializer(old)
