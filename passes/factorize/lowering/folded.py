"""Stages on folded channels (tensor trains, Kronecker products): Reshape, Transpose and MatMul, whatever the leading axes are."""

from __future__ import annotations

import math

import onnx_ir

from netwright.ir.editor import Editor
from netwright.passes.factorize.factors import Stage
from netwright.passes.factorize.lowering.integers import integers
from netwright.passes.marks import CHAIN


class Folding:
    """A value whose channels, the last axis, are seen as an array.

    Args:
        editor: stands where nodes go.
        value: [..., channels].
        lead: how many axes come before the channels.
        mark: what the nodes are marked with (`CHAIN`); empty for nothing.
        hint: for the names of values.
    """

    def __init__(self, editor: Editor, value: onnx_ir.Value, lead: int, mark: str, hint: str) -> None:
        self.value = value
        self._editor = editor
        self._lead = lead
        self._mark = mark
        self._hint = hint
        self._dims: tuple[int, ...] = ()  # those of the channels now; none while they are one axis of whatever size

    def fold(self, dims: tuple[int, ...]) -> None:
        """See the channels as an array of these sizes."""
        if (self._dims or dims[:1]) == dims:
            return
        self.value = self._op("Reshape", [self.value, integers(self._editor, [*[0] * self._lead, *dims], f"{self._hint}.shape")])
        self._dims = dims

    def permute(self, perm: tuple[int, ...]) -> None:
        """Put the channels' axes in this order."""
        if perm in ((), tuple(range(len(perm)))):
            return
        whole = [*range(self._lead), *(self._lead + axis for axis in perm)]
        self.value = self._op("Transpose", [self.value], {"perm": whole})
        self._dims = tuple(self._dims[axis] for axis in perm)

    def flatten(self) -> None:
        """See the channels as one axis."""
        if len(self._dims) > 1:
            self.fold((math.prod(self._dims),))

    def branch(self, mark: str, hint: str) -> Folding:
        """The same value, to go on from for itself."""
        other = Folding(self._editor, self.value, self._lead, mark, hint)
        other._dims = self._dims
        return other

    def multiply(self, stage: Stage, matrix: onnx_ir.Value, rows: int | None = None) -> None:
        """Apply a stage.

        Args:
            stage: of a product.
            matrix: [inputs, outputs].
            rows: how many outputs the matrix has, where those are a part of the stage's.
        """
        outputs, inputs = stage.array.shape
        outputs = outputs if rows is None or stage.dims else rows
        if not stage.dims:
            self.flatten()
            self._dims = (outputs,)
        else:
            self.fold(stage.dims)
            self.permute(stage.perm)
            kept = stage_lead(stage)
            assert kept is not None, "refused before"
            lead = self._dims[:kept]
            self.fold((*lead, inputs))
            self._dims = (*lead, outputs)
        self.value = self._op("MatMul", [self.value, matrix])

    def _op(self, op_type: str, inputs: list[onnx_ir.Value | None], attributes: dict[str, list[int]] | None = None) -> onnx_ir.Value:
        return marked(self._editor.op(op_type, inputs, attributes, name=self._hint), self._mark)


def marked(value: onnx_ir.Value, mark: str) -> onnx_ir.Value:
    """A value whose node is marked as one of a chain."""
    node = value.producer()
    if mark and node is not None:
        node.metadata_props[CHAIN] = mark
    return value


def stage_lead(stage: Stage) -> int | None:
    """How many of a stage's permuted axes come before those that its matrix multiplies; None where the sizes do not fit."""
    sizes = [stage.dims[axis] for axis in (stage.perm or range(len(stage.dims)))]
    for kept in range(len(sizes), -1, -1):
        product = math.prod(sizes[kept:])
        if product == stage.array.shape[1] and kept < len(sizes):
            return kept
        if product > stage.array.shape[1]:
            return None
    return None


def folding_refusal(stages: tuple[Stage, ...], dims: tuple[int, ...], perm: tuple[int, ...], inputs: int, outputs: int) -> str | None:
    """Why a chain of products' stages does not fit together; None where it does."""
    channels = inputs
    for number, stage in enumerate(stages):
        if stage.array.ndim != 2 or stage.groups != 1:
            return f"stage {number} is no dense matrix"
        made, taken = stage.array.shape
        if not stage.dims:
            if taken != channels:
                return f"stage {number} takes {taken} channels, there are {channels}"
            channels = made
            continue
        if math.prod(stage.dims) != channels or sorted(stage.perm or range(len(stage.dims))) != list(range(len(stage.dims))):
            return f"stage {number} folds {channels} channels as {list(stage.dims)}"
        kept = stage_lead(stage)
        if kept is None:
            return f"stage {number} takes {taken} channels, which are no trailing axes of {list(stage.dims)}"
        channels = channels // taken * made
    if dims and (math.prod(dims) != channels or sorted(perm or range(len(dims))) != list(range(len(dims)))):
        return f"the last {channels} channels are folded as {list(dims)}"
    return None if channels == outputs else f"the chain gives {channels} channels, the weight {outputs}"
