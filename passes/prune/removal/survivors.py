"""What is left of a unit once it is zero: the constants that it turns into on its way to those that consume it.

A removed unit is taken to be zero where it is made. Most operators keep that; some make a constant of it (a sigmoid, one half), which
goes into the consumer's bias; others make it depend on what is not removed, and then removal is not exact.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnx_ir

from netwright.ir.coupling.axes import Axis, Tracked
from netwright.ir.coupling.group import PRODUCING, Role
from netwright.ir.coupling.rules.recurrent import is_zero
from netwright.ir.coupling.rules.table import given, needed
from netwright.ir.opinfo import ELEMENTWISE, ELEMENTWISE_BINARY, ELEMENTWISE_UNARY, ELEMENTWISE_VARIADIC, float_attr, int_attr, subgraphs
from netwright.ir.program import array, constant
from netwright.passes.prune.removal.ends import ends
from netwright.passes.simplify.evaluate import EvaluationError, evaluate

if TYPE_CHECKING:
    from netwright.passes.prune.removal.state import State

Constants: TypeAlias = np.ndarray
"""For each removed unit what a value holds along it, float64; NaN where that is no constant."""

_NORMS = frozenset(
    """BatchNormalization GroupNormalization InstanceNormalization LayerNormalization RMSNormalization
    SimplifiedLayerNormalization""".split()  # noqa: SIM905
)
"""What scales and shifts a unit."""

_KEEP = frozenset(
    """Concat Split Slice Transpose Reshape Flatten Squeeze Unsqueeze Expand Tile Identity Dropout MaxPool GlobalAveragePool GlobalMaxPool
    Resize Upsample DepthToSpace SpaceToDepth ReduceMean ReduceMax ReduceMin Cast Gather GatherElements GatherND""".split()  # noqa: SIM905
)
"""What moves or repeats numbers, or takes the mean or the extreme of equal ones."""

_KEEP_ZERO = frozenset(
    """AveragePool LpPool GlobalLpPool ReduceSum ReduceL1 ReduceL2 ReduceSumSquare Pad CenterCropPad GridSample RoiAlign MaxRoiPool
    LRN LpNormalization MeanVarianceNormalization ReduceProd RotaryEmbedding""".split()  # noqa: SIM905
)
"""What makes zeros of zeros, and something else of other constants."""


_GELUS = frozenset({"BiasGelu", "FastGelu", "Gelu", "QuickGelu"})
"""ONNX Runtime's own, some with a bias inside."""


class Survivors:
    """The constants of removed units at every value, worked out node by node.

    Args:
        state: the labels.
        removed: the removed units.
        roles: of the constants' axes, by constant key and axis.
    """

    def __init__(self, state: State, removed: np.ndarray, roles: Callable[[onnx_ir.Value, onnx_ir.Node, int], Role]) -> None:
        self._state = state
        self._removed = removed
        self._place = np.full(state.partition.traced.solved.count, -1, dtype=np.int64)
        self._place[removed] = np.arange(len(removed))
        self._roles = roles
        self._known: dict[onnx_ir.Value, Constants] = {}

    def of(self, value: onnx_ir.Value, node: onnx_ir.Node) -> Constants:
        """What a value that a node reads holds along each removed unit."""
        known = self._known.get(value)
        if known is not None:
            return known
        if constant(value) is not None:
            return self._weight(value, node)
        return np.full(len(self._removed), np.nan)

    def has(self, value: onnx_ir.Value, node: onnx_ir.Node, among: Collection[int] | None = None) -> np.ndarray:
        """Which removed units a value has along some axis, `among` these where given; bool."""
        found = np.zeros(len(self._removed), dtype=bool)
        for index, axis in enumerate(self.axes(value, node)):
            if isinstance(axis, Tracked) and (among is None or index in among):
                places = self._place[self._state.units(axis)]
                found[places[places >= 0]] = True
        return found

    def axes(self, value: onnx_ir.Value, node: onnx_ir.Node) -> Sequence[Axis]:
        """The axes of a value that a node reads or makes."""
        if constant(value) is not None:
            return self._state.constants.get(self._state.key(value, node), ())
        return self._state.values.get(value, ())

    def visit(self, node: onnx_ir.Node) -> None:
        """Work out what the node's outputs hold."""
        result = self._result(node)
        for output in node.outputs:
            self._known[output] = result

    # ---- inner workings --------------------------------------------------------------------------------------------

    def _weight(self, value: onnx_ir.Value, node: onnx_ir.Node) -> Constants:
        """Weights that make units are zero along removed ones; other constants are what they are, where that is one number."""
        found = np.full(len(self._removed), np.nan)
        key = self._state.key(value, node)
        for index, axis in enumerate(self._state.constants.get(key, ())):
            if isinstance(axis, Tracked) and self._roles(key[0], node, index) in PRODUCING:
                places = self._place[self._state.units(axis)]
                found[places[places >= 0]] = 0.0
        return found

    def _result(self, node: onnx_ir.Node) -> Constants:
        unknown = np.full(len(self._removed), np.nan)
        if subgraphs(node):
            return self._held(node)
        if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
            return self._layer(node)
        if node.op_type in _NORMS:
            return self._norm(node)
        if node.op_type in ("LSTM", "GRU", "RNN"):
            return self._recurrent(node)
        if node.op_type in _KEEP and not (node.op_type == "Cast" and node.domain):
            return self._joined(node)
        if node.op_type == "AveragePool" and not int_attr(node, "count_include_pad", 0):
            return self._joined(node)
        if node.domain == "com.microsoft" and node.op_type in _GELUS:
            return self._gelu(node)
        if node.op_type in _KEEP_ZERO:
            found = self._joined(node)
            return np.where(found == 0, found, np.nan)
        if node.op_type in ELEMENTWISE:
            return self._elementwise(node)
        if node.op_type in ("MatMul", "Einsum", "Attention", "MultiHeadAttention", "GroupQueryAttention"):
            return self._product(node)
        if node.op_type == "Softmax":
            return self._softmax(node)
        if node.op_type in ("ConstantOfShape", "Shape", "Size", "Range"):
            return self._fill(node)
        return unknown

    def _recurrent(self, node: onnx_ir.Node) -> Constants:
        """A unit whose gates see nothing stays at zero, if it begins there."""
        result = np.zeros(len(self._removed))
        for value in node.inputs[5:7]:
            if value is not None and not is_zero(value):
                result[self.has(value, node) & ~(self.of(value, node) == 0)] = np.nan
        return result

    def _gelu(self, node: onnx_ir.Node) -> Constants:
        """Zero where what comes in and the bias are; of other constants nothing is said."""
        zero = np.ones(len(self._removed), dtype=bool)
        for value in node.inputs:
            if value is not None:
                zero &= ~self.has(value, node) | (self.of(value, node) == 0)
        return np.where(zero, 0.0, np.nan)

    def _joined(self, node: onnx_ir.Node) -> Constants:
        """The constant that all inputs agree on which have the unit; what is repeated has the number that it repeats."""
        found = np.full(len(self._removed), np.nan)
        seen = np.zeros(len(self._removed), dtype=bool)
        values = [value for value in node.inputs if value is not None]
        for value in values if node.op_type == "Concat" else values[:1]:
            here, has = self.of(value, node), self.has(value, node)
            repeated = _single(value) if not has.any() else None
            if repeated is not None:
                return np.full(len(self._removed), repeated)
            clash = has & seen & ~(found == here)
            found = np.where(has & ~seen, here, found)
            found[clash] = np.nan
            seen |= has
        return found

    def _elementwise(self, node: onnx_ir.Node) -> Constants:
        columns: list[Constants] = []
        for value in node.inputs:
            if value is None:
                columns.append(np.zeros(0))
                continue
            has = self.has(value, node)
            number = _single(value)
            here = self.of(value, node)
            columns.append(np.where(has, here, np.nan if number is None else number))
        if node.op_type in ELEMENTWISE_UNARY or node.op_type == "Dropout":
            return _apply(node, columns[:1], self._state.program.opset)
        given = [column for column in columns if len(column)]
        if node.op_type == "Mul" and len(given) == 2:
            return np.where((given[0] == 0) | (given[1] == 0), 0.0, given[0] * given[1])
        if node.op_type == "Div" and len(given) == 2:
            with np.errstate(all="ignore"):
                return np.where(given[0] == 0, 0.0, given[0] / given[1])
        if node.op_type == "Where" and len(given) == 3:
            return np.where(given[1] == given[2], given[1], np.nan)
        if node.op_type == "PRelu":
            return np.where(given[0] == 0, 0.0, given[0] * given[1])
        if node.op_type in ELEMENTWISE_BINARY or node.op_type in ELEMENTWISE_VARIADIC:
            return _apply(node, given, self._state.program.opset)
        return np.full(len(self._removed), np.nan)

    def _zero(self, value: onnx_ir.Value, node: onnx_ir.Node, among: Collection[int] | None = None) -> np.ndarray:
        """Which removed units a value has, `among` these axes, and is zero along; bool."""
        return self.has(value, node, among) & (self.of(value, node) == 0)

    def _product(self, node: onnx_ir.Node) -> Constants:
        """Zero where a factor is zero along a unit that comes out; of attention, where the values are."""
        values = [value for value in node.inputs if value is not None]
        factors = values if node.op_type in ("MatMul", "Einsum") else values[2:3]
        summed = {place for found in ends(node, self._state.mode) for place in found.axes}
        zero = np.zeros(len(self._removed), dtype=bool)
        for value in factors:
            zero |= self._zero(value, node, [axis for axis in range(len(self.axes(value, node))) if (value, axis) not in summed])
        return np.where(zero, 0.0, np.nan)

    def _layer(self, node: onnx_ir.Node) -> Constants:
        """Zero where the weights that make a unit are; then its bias, which may be one number for all."""
        x, weight, bias = needed(node), needed(node, 1), given(node, 2)
        if node.op_type == "Gemm":
            rows, columns = (1 if int_attr(node, "transA", 0) else 0), (0 if int_attr(node, "transB", 0) else 1)
        else:
            rows, columns = 0, (1 if node.op_type == "ConvTranspose" else 0)
        zero = self._zero(x, node, (rows,)) | self._zero(weight, node, (columns,))
        if bias is None:
            return np.where(zero, 0.0, np.nan)
        number = _single(bias)
        added = np.where(self.has(bias, node), self.of(bias, node), np.nan if number is None else number)
        return np.where(zero, added * float_attr(node, "beta", 1.0), np.nan)

    def _norm(self, node: onnx_ir.Node) -> Constants:
        """Zero where scale and shift are; without a shift, also where the unit is zero and is normed on its own."""
        x, scale, shift = needed(node), needed(node, 1), given(node, 2)
        alone = range(len(self.axes(x, node)))
        if node.op_type == "LayerNormalization":
            alone = range(int_attr(node, "axis", -1) % len(alone))
        elif node.op_type in ("BatchNormalization", "GroupNormalization"):
            alone = ()
        zero = self._zero(scale, node) | self._zero(x, node, alone)
        if shift is not None:
            zero &= self._zero(shift, node) | (~self.has(shift, node) & is_zero(shift))
        return np.where(zero, 0.0, np.nan)

    def _softmax(self, node: onnx_ir.Node) -> Constants:
        """A unit without a share has none; along other axes the shares of equal numbers depend on how many there are."""
        value = node.inputs[0]
        found = np.full(len(self._removed), np.nan)
        if value is not None:
            axis = self.axes(value, node)[int_attr(node, "axis", -1)]
            if isinstance(axis, Tracked):
                places = self._place[self._state.units(axis)]
                found[places[places >= 0]] = 0.0
        return found

    def _fill(self, node: onnx_ir.Node) -> Constants:
        tensor = node.attributes["value"].as_tensor().numpy() if "value" in node.attributes else np.zeros(1)
        return np.full(len(self._removed), float(tensor.reshape(-1)[0]))

    def _held(self, node: onnx_ir.Node) -> Constants:
        """What a node with graphs inside gives: what all their results agree on; carried values must stay as they come in."""
        results: list[Constants] = []
        for _, body in subgraphs(node):
            outer = node.inputs[len(node.inputs) - len(body.inputs) :]
            for formal, value in zip(body.inputs, outer, strict=False):
                if value is not None:
                    self._known[formal] = self.of(value, node)
            for inner in body:
                self.visit(inner)
            if self._carry(node, body):
                for inner in body:
                    self.visit(inner)
            for output in body.outputs:
                has = self.has(output, node)
                results.append(np.where(has, self.of(output, node), 0.0))
        return np.where(np.all([found == 0 for found in results], axis=0), 0.0, np.nan) if results else np.zeros(len(self._removed))

    def _carry(self, node: onnx_ir.Node, body: onnx_ir.Graph) -> bool:
        """Forget what carried values hold where a round changes it; True where one did."""
        changed = False
        for formal, result in _carried(node, body):
            before = self.of(formal, node)
            kept = np.where(self.has(formal, node) & ~(before == self.of(result, node)), np.nan, before)
            changed |= not np.array_equal(kept, before, equal_nan=True)
            self._known[formal] = kept
        return changed


def _carried(node: onnx_ir.Node, body: onnx_ir.Graph) -> Iterator[tuple[onnx_ir.Value, onnx_ir.Value]]:
    """What goes into each round, and what the one before it gave for that."""
    if node.op_type == "Loop":
        yield from zip(body.inputs[2:], body.outputs[1:], strict=False)
    elif node.op_type == "Scan":
        states = len(body.inputs) - int_attr(node, "num_scan_inputs", 0)
        yield from zip(body.inputs[:states], body.outputs[:states], strict=False)


def _single(value: onnx_ir.Value) -> float | None:
    """The number that a constant of one element holds."""
    found = array(value, limit=1)
    return float(found.reshape(-1)[0]) if found is not None and found.size == 1 else None


def _apply(node: onnx_ir.Node, columns: Sequence[Constants], opset: int) -> Constants:
    """The operator on constants, evaluated; unknown where an operand is."""
    dtype = next((value.dtype for value in node.inputs if value is not None and value.dtype is not None), None)
    if dtype is None or not columns:
        return np.full(len(columns[0]) if columns else 0, np.nan)
    unknown = np.any([np.isnan(column) for column in columns], axis=0)
    operands: list[np.ndarray | None] = [np.where(unknown, 1.0, column).astype(dtype.numpy()) for column in columns]
    operands += [array(value) if value is not None else None for value in node.inputs[len(operands) :]]
    try:
        with np.errstate(all="ignore"):
            result = evaluate(node, operands, opset)[0].astype(np.float64)
    except (EvaluationError, ValueError, TypeError):
        return np.full(len(unknown), np.nan)
    return np.where(unknown | ~np.isfinite(result), np.nan, result)
