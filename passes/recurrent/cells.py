"""One step of a recurrent layer as nodes, by the formulas of the ONNX standard.

States are [1, batch, hidden]; a state that is None is all zeros and costs nothing. Gates lie in the standard's order: i, o, f, c of LSTM;
z, r, h of GRU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What goes from a step to the next.

    Attributes:
        hidden: the output of a step; None for zeros.
        cell: of LSTM; None for zeros.
    """

    hidden: onnx_ir.Value | None = None
    cell: onnx_ir.Value | None = None


class Sizes:
    """How a layer's gates are cut, in multiples of its hidden units; each cut is a constant, made when first asked for.

    Args:
        editor: the transaction.
        hidden: units of a gate.
        hint: names of constants begin with it.
    """

    def __init__(self, editor: Editor, hidden: int, hint: str) -> None:
        self._editor, self._hidden, self._hint = editor, hidden, hint
        self._made: dict[tuple[int, ...], onnx_ir.Value] = {}

    def of(self, gates: tuple[int, ...]) -> onnx_ir.Value:
        """The sizes that Split takes: (2, 1) for two gates and one."""
        if gates not in self._made:
            self._made[gates] = self._editor.constant(np.array(gates, np.int64) * self._hidden, f"{self._hint}.sizes")
        return self._made[gates]


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """What all steps of one direction share.

    Attributes:
        matrices: R turned, [hidden, gates · hidden]; of a GRU that resets before the product, its gates z and r, then h.
        bias: [gates · hidden], added to the product with R; None where the input's product has it already.
        peepholes: of LSTM, [hidden] of i, o and f; empty for none.
        activations: in the standard's order.
        sizes: for cutting gates apart.
    """

    matrices: Sequence[onnx_ir.Value]
    bias: onnx_ir.Value | None
    peepholes: Sequence[onnx_ir.Value]
    activations: tuple[str, ...]
    sizes: Sizes


class Step:
    """Makes the nodes of one step.

    Args:
        editor: the transaction.
        shared: what all steps share.
        hint: names of new values begin with it.
    """

    def __init__(self, editor: Editor, shared: Direction, hint: str) -> None:
        self._editor, self._shared, self._hint = editor, shared, hint

    def make(self, kind: str, inputs: onnx_ir.Value, state: State, *, before_reset: bool) -> State:
        """The state after the step.

        Args:
            kind: LSTM, GRU or RNN.
            inputs: the input's product and bias at this step, [1, batch, gates · hidden].
            state: before the step.
            before_reset: see `Layer`.
        """
        if kind == "LSTM":
            return self._lstm(inputs, state)
        if kind == "GRU":
            return State(self._gru(inputs, state.hidden, before_reset=before_reset))
        return State(self._op(self._shared.activations[0], self._recalled(inputs, state.hidden), name="h"))

    def _lstm(self, inputs: onnx_ir.Value, state: State) -> State:
        """The new cell is f ∘ c + i ∘ g(…), the new hidden state o ∘ h(new cell)."""
        gate, candidate, output = self._shared.activations
        whole = self._recalled(inputs, state.hidden)
        if self._shared.peepholes:
            return self._peeping(whole, state)
        gates, new = self._cut(whole, (3, 1))
        i, o, f = self._cut(self._op(gate, gates, name="gates"), (1, 1, 1))
        cell = self._kept(f, state.cell, self._op("Mul", i, self._op(candidate, new, name="new"), name="added"))
        return State(self._op("Mul", o, self._op(output, cell, name="shown"), name="h"), cell)

    def _peeping(self, whole: onnx_ir.Value, state: State) -> State:
        """The same where i and f see the cell before the step, and o the one after it."""
        gate, candidate, output = self._shared.activations
        gates, new = self._cut(whole, (3, 1))
        i, o, f = self._cut(gates, (1, 1, 1))
        to_i, to_o, to_f = self._shared.peepholes
        i, f = (self._op(gate, self._seen(one, state.cell, weight)) for one, weight in ((i, to_i), (f, to_f)))
        cell = self._kept(f, state.cell, self._op("Mul", i, self._op(candidate, new, name="new"), name="added"))
        o = self._op(gate, self._seen(o, cell, to_o))
        return State(self._op("Mul", o, self._op(output, cell, name="shown"), name="h"), cell)

    def _seen(self, gate: onnx_ir.Value, cell: onnx_ir.Value | None, weight: onnx_ir.Value) -> onnx_ir.Value:
        return gate if cell is None else self._op("Add", gate, self._op("Mul", weight, cell))

    def _kept(self, forget: onnx_ir.Value, cell: onnx_ir.Value | None, added: onnx_ir.Value) -> onnx_ir.Value:
        return added if cell is None else self._op("Add", self._op("Mul", forget, cell, name="kept"), added, name="c")

    def _gru(self, inputs: onnx_ir.Value, hidden: onnx_ir.Value | None, *, before_reset: bool) -> onnx_ir.Value:
        """The new state, (1 - z) ∘ n + z ∘ h, is computed as n + z ∘ (h - n)."""
        gate, candidate = self._shared.activations
        x_gates, x_new = self._cut(inputs, (2, 1))
        product = self._product(hidden, 0)
        h_gates, h_new = (product, None) if product is None or not before_reset else self._cut(product, (2, 1))
        gates = x_gates if h_gates is None else self._op("Add", x_gates, h_gates)
        z, r = self._cut(self._op(gate, gates, name="gates"), (1, 1))
        if before_reset:
            recalled = None if h_new is None else self._op("Mul", r, h_new, name="reset")
        else:
            recalled = None if hidden is None else self._product(self._op("Mul", r, hidden, name="reset"), 1)
        new = self._op(candidate, x_new if recalled is None else self._op("Add", x_new, recalled), name="new")
        if hidden is None:
            return self._op("Sub", new, self._op("Mul", z, new), name="h")
        return self._op("Add", new, self._op("Mul", z, self._op("Sub", hidden, new)), name="h")

    def _recalled(self, inputs: onnx_ir.Value, hidden: onnx_ir.Value | None) -> onnx_ir.Value:
        product = self._product(hidden, 0)
        return inputs if product is None else self._op("Add", inputs, product, name="whole")

    def _product(self, hidden: onnx_ir.Value | None, number: int) -> onnx_ir.Value | None:
        """The state times R with its bias; of zeros the bias alone, or None."""
        bias = self._shared.bias
        if hidden is None:
            return bias
        product = self._op("MatMul", hidden, self._shared.matrices[number], name="recalled")
        return product if bias is None else self._op("Add", product, bias, name="recalled.bias")

    def _cut(self, value: onnx_ir.Value, gates: tuple[int, ...]) -> Sequence[onnx_ir.Value]:
        sizes = self._shared.sizes.of(gates)
        return self._editor.ops("Split", [value, sizes], {"axis": -1}, names=[f"{self._hint}.part"] * len(gates))

    def _op(self, op_type: str, *inputs: onnx_ir.Value, name: str = "") -> onnx_ir.Value:
        return self._editor.op(op_type, inputs, name=f"{self._hint}.{name or op_type.lower()}")
