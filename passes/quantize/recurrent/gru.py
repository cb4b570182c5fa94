"""GRU to a Scan of integer products: for ONNX Runtime has no integer GRU.

    xₜ W        for all steps at once, before the Scan: one product, the input quantized as it comes
    hₜ₋₁ R      in each step: the state, which lies between -1 and 1, as bytes of step 1 / 127 (quantized as it comes where the initial
                state may lie outside), and R as int8

A step of the Scan takes some 8 us beside its product, so that this pays for wide layers and many rows. ONNX Runtime 1.31, AVX512-VNNI, one
thread, 100 steps: 128 units x0.33; 256 units x0.93 with 1 row, x1.84 with 8; 512 x2.2 with 1 row, x2.7 with 8; 1024 x3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.maps import Cast, Mapped, Permute, Reshape, Split
from netwright.ir.program import array
from netwright.ir.schemas import CONTRIB_DOMAIN
from netwright.ir.shapes import shape_of
from netwright.passes.quantize.recurrent.cell import Gates, body_of
from netwright.passes.quantize.rounding.base import Nearest, Rounder
from netwright.passes.quantize.weights import float_array, owner_of

if TYPE_CHECKING:
    from netwright.ir.editor import Editor
    from netwright.passes.quantize.choice import Dynamic
    from netwright.passes.quantize.sites import Site
    from netwright.passes.quantize.units import Unit


@dataclass(frozen=True, slots=True, eq=False)
class _Matrix:
    """A stored weight [inputs, outputs], int8, and the scale of each output."""

    values: onnx_ir.Value
    scale: onnx_ir.Value


def quantize_gru(editor: Editor, unit: Unit, choice: Dynamic, rounder: Rounder | None = None) -> None:
    """Quantize a unit of GRUs, without obstacles (`grus.gru_obstacle`); those that share W or R go on sharing.

    Args:
        editor: the transaction.
        unit: of GRUs.
        choice: bits and axis.
        rounder: makes integers; to the nearest where not given.
    """
    rounder = Nearest() if rounder is None else rounder
    inputs: dict[onnx_ir.Value, list[_Matrix]] = {}
    states: dict[tuple[onnx_ir.Value, bool], list[_Matrix]] = {}
    for site in unit.sites:
        editor.at(site.node)
        w, r = site.weights
        apart = not site.node.attributes.get_int("linear_before_reset", 0)
        if w not in inputs:
            directions, gates, _ = float_array(w).shape
            inputs[w] = _store(editor, w, choice, rounder, [directions * gates])
        if (r, apart) not in states:
            directions, hidden = float_array(r).shape[0], site.columns
            states[r, apart] = _store(editor, r, choice, rounder, [2 * hidden, hidden] * directions if apart else [3 * hidden] * directions)
        _Layer(editor, site).lower(inputs[w][0], states[r, apart], apart=apart)


def _store(editor: Editor, weight: onnx_ir.Value, choice: Dynamic, rounder: Rounder, sizes: Sequence[int]) -> list[_Matrix]:
    """The weight [directions, gates, inputs] cut along its outputs, each part [inputs, outputs]."""
    data = float_array(weight)
    flat = data.reshape(-1, data.shape[2])
    found = rounder.rows(weight, flat, bits=choice.bits, per_channel=choice.axis != "tensor")
    scale = np.broadcast_to(found.scale.astype(np.float32), (len(flat),))
    name, graph = weight.name or "weight", owner_of(weight)
    made: list[_Matrix] = []
    start = 0
    for at, size in enumerate(sizes):
        part = slice(start, start + size)
        hint = name if len(sizes) == 1 else f"{name}.{at}"
        values = editor.constant(np.ascontiguousarray(found.values[part].T), f"{hint}.int8", graph=graph)
        own = np.ascontiguousarray(scale[part])
        made.append(_Matrix(values, editor.constant(own, f"{hint}.scale", graph=graph)))
        lineage = Reshape(flat.shape, data.shape)
        lineage = lineage if len(sizes) == 1 else lineage.then(Split(0, tuple(sizes), at))
        lineage = lineage.then(Cast("int8", data.dtype.name, own, axis=0)).then(Permute((1, 0)))
        editor.map(values.name or "", Mapped(lineage, (name,)))
        start += size
    return made


class _Layer:
    def __init__(self, editor: Editor, site: Site) -> None:
        self._editor, self._site, self._node, self._name = editor, site, site.node, site.name
        self._hidden = site.columns
        self._directions = 2 if site.node.attributes.get_string("direction", "forward") == "bidirectional" else 1

    def lower(self, inputs: _Matrix, states: Sequence[_Matrix], *, apart: bool) -> None:
        """Replace the layer: the input's product for all steps, then a Scan for each direction."""
        editor, hidden, gates = self._editor, self._hidden, 3 * self._hidden
        bias = array(self._node.inputs[3]) if len(self._node.inputs) > 3 and self._node.inputs[3] is not None else None
        both = np.zeros((self._directions, 2 * gates), np.float32) if bias is None else bias
        before, after = both[:, :gates], both[:, gates:]
        if apart:  # nothing multiplies the state's bias, which then goes with the input's
            before, after = before + after, np.zeros_like(after)
        steps = self._product(inputs, before.reshape(-1))
        if self._directions == 1:
            each: Sequence[onnx_ir.Value] = [steps]
        else:
            sizes = editor.constant(np.array([gates, gates], np.int64), f"{self._name}.halves")
            each = editor.ops("Split", [steps, sizes], {"axis": 2}, names=[f"{self._name}.forward", f"{self._name}.backward"])
        backwards = [self._node.attributes.get_string("direction", "forward") == "reverse", True]
        per = len(states) // self._directions
        made: list[Sequence[onnx_ir.Value]] = []
        for direction, own in enumerate(each):
            matrices = states[direction * per : (direction + 1) * per]
            offset = None if apart else editor.constant(np.ascontiguousarray(after[direction]), f"{self._name}.state.bias")
            made.append(self._scan(own, matrices, offset, direction, backwards=backwards[direction], hidden=hidden))
        self._outputs(made)

    def _product(self, weight: _Matrix, bias: np.ndarray) -> onnx_ir.Value:
        editor, name = self._editor, self._name
        data = self._node.inputs[0]
        assert data is not None, "a GRU has its input"
        integers, scale, zero = editor.ops(
            "DynamicQuantizeLinear", [data], names=(f"{data.name}.int8", f"{data.name}.scale", f"{data.name}.zero")
        )
        offset = editor.constant(np.ascontiguousarray(bias, np.float32), f"{name}.bias")
        operands = [integers, weight.values, scale, weight.scale, zero, None, offset]
        return editor.op("MatMulIntegerToFloat", operands, domain=CONTRIB_DOMAIN, name=f"{name}.steps")

    def _scan(
        self,
        steps: onnx_ir.Value,
        matrices: Sequence[_Matrix],
        bias: onnx_ir.Value | None,
        direction: int,
        *,
        backwards: bool,
        hidden: int,
    ) -> Sequence[onnx_ir.Value]:
        """The final state, then the state at all steps."""
        editor = self._editor
        hint = self._name if self._directions == 1 else f"{self._name}.{direction}"
        start, bounded = self._start(direction)
        step = editor.constant(np.array(1 / 127, np.float32), f"{hint}.step") if bounded else None
        middle = editor.constant(np.array(128, np.uint8), f"{hint}.middle") if bounded else None
        sizes = editor.constant(np.array([2 * hidden, hidden], np.int64), f"{hint}.gates")
        halves = editor.constant(np.array([hidden, hidden], np.int64), f"{hint}.halves")
        gates = Gates([(one.values, one.scale) for one in matrices], bias, step, middle, sizes, halves, hidden)
        batch = (shape_of(self._node.inputs[0]) or (None, None, None))[1]
        body = body_of(editor, gates, batch, hint)
        attributes: dict[str, int | onnx_ir.Graph | list[int]] = {"body": body, "num_scan_inputs": 1}
        if backwards:
            attributes |= {"scan_input_directions": [1], "scan_output_directions": [1]}
        made = editor.ops("Scan", [start, steps], attributes, names=[f"{hint}.h", f"{hint}.states"])
        scan = made[0].producer()
        for inner in body:
            inner.metadata_props.update({} if scan is None else scan.metadata_props)
        return made

    def _start(self, direction: int) -> tuple[onnx_ir.Value, bool]:
        """The initial state [batch, hidden], and whether it is known to lie between -1 and 1, as all others then do."""
        editor, name = self._editor, self._name
        given = self._node.inputs[5] if len(self._node.inputs) > 5 else None
        if given is not None:
            number = editor.constant(np.array(direction, np.int64), f"{name}.direction")
            known = array(given)
            bounded = known is not None and float(np.abs(known).max(initial=0)) <= 1
            return editor.op("Gather", [given, number], {"axis": 0}, name=f"{name}.start"), bounded
        batch = (shape_of(self._node.inputs[0]) or (None, None, None))[1]
        if isinstance(batch, int):
            return editor.constant(np.zeros((batch, self._hidden), np.float32), f"{name}.start"), True
        shape = editor.op("Shape", [self._node.inputs[0]], name=f"{name}.shape")
        rows = editor.op("Gather", [shape, editor.constant(np.array([1], np.int64), f"{name}.batch")], {"axis": 0}, name=f"{name}.batch")
        width = editor.constant(np.array([self._hidden], np.int64), f"{name}.hidden")
        sizes = editor.op("Concat", [rows, width], {"axis": 0}, name=f"{name}.sizes")
        zero = onnx_ir.AttrTensor("value", onnx_ir.Tensor(np.zeros(1, np.float32), name="zero"))
        return editor.op("ConstantOfShape", [sizes], {"value": zero}, name=f"{name}.start"), True

    def _outputs(self, made: Sequence[Sequence[onnx_ir.Value]]) -> None:
        """Y [steps, directions, batch, hidden] and the final states [directions, batch, hidden]."""
        editor = self._editor
        for number, (output, source, axis) in enumerate(zip(self._node.outputs, (1, 0), (1, 0), strict=False)):
            if not output.uses() and not output.is_graph_output():
                continue
            axes = editor.constant(np.array([axis], np.int64), f"{self._name}.axis{number}")
            parts = [editor.op("Unsqueeze", [one[source], axes], name=f"{output.name}.int8", like=output) for one in made]
            whole = parts[0] if len(parts) == 1 else editor.op("Concat", parts, {"axis": axis}, name=f"{output.name}.int8", like=output)
            editor.replace(output, whole)
