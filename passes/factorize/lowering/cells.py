"""One step of a recurrent layer as a Scan's body, the state passing through factors of R.

The cells are those of the ONNX standard, with default activations: of LSTM the gates lie in the order i, o, f, c; of GRU z, r, h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir

from netwright.ir.dims import Dim
from netwright.ir.editor import Editor


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """A stored stage of a direction, [inputs, outputs]; of a GRU's last one perhaps the new state's outputs by themselves."""

    value: onnx_ir.Value
    new: onnx_ir.Value | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Gates:
    """What a body takes from around it.

    Attributes:
        factors: of R, in the order in which they are applied.
        bias: [gates], what is added to R's product; None where it has been added to the input's.
        hidden: outputs of each gate.
    """

    factors: Sequence[Factor]
    bias: onnx_ir.Value | None
    hidden: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A kind of recurrent layer.

    Attributes:
        kind: operator name.
        gates: how many there are.
        states: names of what is carried from step to step.
        before_reset: of GRU, whether R multiplies the state before its reset (`linear_before_reset`).
    """

    kind: str
    gates: int
    states: tuple[str, ...]
    before_reset: bool = False

    @classmethod
    def of(cls, kind: str, *, linear_before_reset: bool) -> Cell:
        """Of a node."""
        if kind == "LSTM":
            return cls(kind, 4, ("h", "c"))
        return cls(kind, 3, ("h",), linear_before_reset) if kind == "GRU" else cls(kind, 1, ("h",))

    @property
    def whole_bias(self) -> bool:
        """Whether the state's bias can be added to the input's: not where the reset gate multiplies it."""
        return not self.before_reset

    @property
    def apart(self) -> bool:
        """Whether the new state's rows of R see another state than the gates'."""
        return self.kind == "GRU" and not self.before_reset


def body_of(editor: Editor, cell: Cell, gates: Gates, steps: onnx_ir.Value, batch: Dim | None, hint: str) -> onnx_ir.Graph:
    """The body: states and the input's part of the gates at one step in; states and the hidden state out."""
    made = _Body(editor, hint, gates, steps.dtype)
    dims = [batch, gates.hidden]
    states = [made.formal(state, dims) for state in cell.states]
    step = made.formal("step", [batch, cell.gates * gates.hidden])
    outputs = {"LSTM": made.lstm, "GRU": made.gru_before if cell.before_reset else made.gru_after, "RNN": made.rnn}[cell.kind](states, step)
    for output in outputs:
        output.shape, output.type = states[0].shape, states[0].type
    scanned = made.op("Identity", outputs[0])
    scanned.shape, scanned.type = states[0].shape, states[0].type
    return onnx_ir.Graph(
        [*states, step], [*outputs, scanned], nodes=made.nodes, opset_imports={"": editor.program.opset}, name=f"{hint}.step"
    )


def split_attributes(editor: Editor, axis: int, count: int) -> dict[str, int]:
    """Attributes of a Split into equal parts, which says their number from opset 18 on."""
    return {"axis": axis, "num_outputs": count} if editor.program.opset >= 18 else {"axis": axis}


class _Body:
    def __init__(self, editor: Editor, hint: str, gates: Gates, dtype: onnx_ir.DataType | None) -> None:
        self.nodes: list[onnx_ir.Node] = []
        self._editor, self._hint, self._gates, self._dtype = editor, hint, gates, dtype

    def formal(self, name: str, dims: Sequence[Dim | None]) -> onnx_ir.Value:
        """An input of the body."""
        value = onnx_ir.Value(name=self._editor.fresh(f"{self._hint}.{name}.step"), shape=onnx_ir.Shape(list(dims)))
        value.type = None if self._dtype is None else onnx_ir.TensorType(self._dtype)
        return value

    def op(self, op_type: str, *inputs: onnx_ir.Value) -> onnx_ir.Value:
        """A node of one output."""
        return self._node(op_type, inputs, {}, 1)[0]

    def _node(self, op_type: str, inputs: Sequence[onnx_ir.Value], attributes: dict[str, int], count: int) -> list[onnx_ir.Value]:
        outputs = [onnx_ir.Value(name=self._editor.fresh(f"{self._hint}.step.{op_type}")) for _ in range(count)]
        attrs = [onnx_ir.convenience.convert_attribute(name, value) for name, value in attributes.items()]
        self.nodes.append(onnx_ir.Node("", op_type, inputs, attrs, outputs=outputs, name=outputs[0].name))
        return outputs

    def _split(self, value: onnx_ir.Value, count: int) -> list[onnx_ir.Value]:
        """Equal parts along the channels."""
        return self._node("Split", [value], split_attributes(self._editor, 1, count), count)

    def _project(self, state: onnx_ir.Value, *, new: bool = False) -> onnx_ir.Value:
        """The state times R, by its factors; of a GRU that keeps them apart the gates' rows, or the new state's."""
        for factor in self._gates.factors:
            state = self.op("MatMul", state, factor.new if new and factor.new is not None else factor.value)
        return state if self._gates.bias is None else self.op("Add", state, self._gates.bias)

    def rnn(self, states: Sequence[onnx_ir.Value], step: onnx_ir.Value) -> list[onnx_ir.Value]:
        """H = tanh(x + H R)."""
        return [self.op("Tanh", self.op("Add", step, self._project(states[0])))]

    def lstm(self, states: Sequence[onnx_ir.Value], step: onnx_ir.Value) -> list[onnx_ir.Value]:
        """C = σ(f) C + σ(i) tanh(c), H = σ(o) tanh(C)."""
        state, cell = states
        i, o, f, c = self._split(self.op("Add", step, self._project(state)), 4)
        kept = self.op("Mul", self.op("Sigmoid", f), cell)
        cell = self.op("Add", kept, self.op("Mul", self.op("Sigmoid", i), self.op("Tanh", c)))
        return [self.op("Mul", self.op("Sigmoid", o), self.op("Tanh", cell)), cell]

    def gru_before(self, states: Sequence[onnx_ir.Value], step: onnx_ir.Value) -> list[onnx_ir.Value]:
        """H = (1 - z) tanh(x + r (H R + b)) + z H."""
        xz, xr, xh = self._split(step, 3)
        hz, hr, hh = self._split(self._project(states[0]), 3)
        reset = self.op("Sigmoid", self.op("Add", xr, hr))
        new = self.op("Tanh", self.op("Add", xh, self.op("Mul", reset, hh)))
        return [self._mixed(self.op("Sigmoid", self.op("Add", xz, hz)), new, states[0])]

    def gru_after(self, states: Sequence[onnx_ir.Value], step: onnx_ir.Value) -> list[onnx_ir.Value]:
        """H = (1 - z) tanh(x + (r H) R) + z H."""
        xz, xr, xh = self._split(step, 3)
        hz, hr = self._split(self._project(states[0]), 2)
        reset = self.op("Mul", self.op("Sigmoid", self.op("Add", xr, hr)), states[0])
        new = self.op("Tanh", self.op("Add", xh, self._project(reset, new=True)))
        return [self._mixed(self.op("Sigmoid", self.op("Add", xz, hz)), new, states[0])]

    def _mixed(self, z: onnx_ir.Value, new: onnx_ir.Value, old: onnx_ir.Value) -> onnx_ir.Value:
        """(1 - z) new + z old, as new + z (old - new)."""
        return self.op("Add", new, self.op("Mul", z, self.op("Sub", old, new)))
