"""One step of a GRU with integer products, as a Scan's body. Gates lie in ONNX's order: z, r, h."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir

from netwright.ir.dims import Dim
from netwright.ir.editor import Editor
from netwright.ir.schemas import CONTRIB_DOMAIN

_NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Gates:
    """What a body takes from around it.

    Attributes:
        matrices: R as integers [hidden, outputs] with its scales: of all gates, or of z and r, then of h, where the reset gate comes before
            the product.
        bias: added to the product of all gates; None where it has been added to the input's.
        step: of the state's integers, where they are known to suffice.
        middle: the state's integer of zero.
        sizes: two gates and one.
        halves: one gate and one.
        hidden: outputs of a gate.
    """

    matrices: Sequence[tuple[onnx_ir.Value, onnx_ir.Value]]
    bias: onnx_ir.Value | None
    step: onnx_ir.Value | None
    middle: onnx_ir.Value | None
    sizes: onnx_ir.Value
    halves: onnx_ir.Value
    hidden: int


def body_of(editor: Editor, gates: Gates, batch: Dim | None, hint: str) -> onnx_ir.Graph:
    """The body: the state and the input's part of the gates at one step in; the state, twice, out."""
    made = _Body(editor, hint, gates)
    state, step = made.formal("h", [batch, gates.hidden]), made.formal("step", [batch, 3 * gates.hidden])
    output = made.step(state, step)
    scanned = made.op("Identity", output)
    for one in (output, scanned):
        one.shape, one.type = state.shape, state.type
    imports = {"": editor.program.opset, CONTRIB_DOMAIN: 1}
    return onnx_ir.Graph([state, step], [output, scanned], nodes=made.nodes, opset_imports=imports, name=f"{hint}.step")


class _Body:
    def __init__(self, editor: Editor, hint: str, gates: Gates) -> None:
        self.nodes: list[onnx_ir.Node] = []
        self._editor, self._hint, self._gates = editor, hint, gates

    def formal(self, name: str, dims: Sequence[Dim | None]) -> onnx_ir.Value:
        """An input of the body."""
        value = onnx_ir.Value(name=self._editor.fresh(f"{self._hint}.{name}.step"), shape=onnx_ir.Shape(list(dims)))
        value.type = onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
        return value

    def op(self, op_type: str, *inputs: onnx_ir.Value | None, domain: str = "") -> onnx_ir.Value:
        """A node of one output."""
        return self._node(op_type, inputs, 1, domain=domain)[0]

    def _node(
        self, op_type: str, inputs: Sequence[onnx_ir.Value | None], count: int, attributes: Mapping[str, int] = _NONE, domain: str = ""
    ) -> list[onnx_ir.Value]:
        outputs = [onnx_ir.Value(name=self._editor.fresh(f"{self._hint}.step.{op_type}")) for _ in range(count)]
        attrs = [onnx_ir.convenience.convert_attribute(name, value) for name, value in attributes.items()]
        self.nodes.append(onnx_ir.Node(domain, op_type, inputs, attrs, outputs=outputs, name=outputs[0].name))
        return outputs

    def _cut(self, value: onnx_ir.Value, sizes: onnx_ir.Value) -> list[onnx_ir.Value]:
        return self._node("Split", [value, sizes], 2, {"axis": 1})

    def _project(self, state: onnx_ir.Value, number: int) -> onnx_ir.Value:
        """The state times R."""
        (values, scales), gates = self._gates.matrices[number], self._gates
        if gates.step is not None:
            integers, step, middle = self.op("QuantizeLinear", state, gates.step, gates.middle), gates.step, gates.middle
        else:
            integers, step, middle = self._node("DynamicQuantizeLinear", [state], 3)
        return self.op("MatMulIntegerToFloat", integers, values, step, scales, middle, None, gates.bias, domain=CONTRIB_DOMAIN)

    def step(self, state: onnx_ir.Value, inputs: onnx_ir.Value) -> onnx_ir.Value:
        """H = (1 - z) tanh(x + r (H R)) + z H, or with (r H) R; computed as n + z (H - n)."""
        gates = self._gates
        x_gates, x_new = self._cut(inputs, gates.sizes)
        both = self._project(state, 0)
        h_gates, h_new = (both, None) if len(gates.matrices) > 1 else self._cut(both, gates.sizes)
        z, r = self._cut(self.op("Sigmoid", self.op("Add", x_gates, h_gates)), gates.halves)
        recalled = self._project(self.op("Mul", r, state), 1) if h_new is None else self.op("Mul", r, h_new)
        new = self.op("Tanh", self.op("Add", x_new, recalled))
        return self.op("Add", new, self.op("Mul", z, self.op("Sub", state, new)))
