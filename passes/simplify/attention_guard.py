"""The guard that torch puts around an attention's softmax: NaN, from rows masked by −∞ throughout, becomes 0."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import can_replace
from netwright.ir.opinfo import int_attr
from netwright.ir.program import Program, constant
from netwright.ir.shapes import rank
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Rule
from netwright.passes.simplify.infinities import Analysis
from netwright.passes.simplify.match import fusion, producer, reader, scalar

_MASK_ELEMENTS = 1 << 22


@fusion("IsNaN")
def drop_softmax_guard(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`Where(IsNaN(p), 0, p)` is p, where p is a softmax that no infinity can enter.

    A softmax over finite numbers has no NaN. What counts as finite is told in `netwright.passes.simplify.infinities`.
    """
    guard = reader(node.outputs[0], "Where")
    probabilities = node.inputs[0]
    softmax = producer(probabilities, "Softmax")
    if guard is None or softmax is None or probabilities is None or guard.inputs[2] is not probabilities:
        return None
    if guard.inputs[0] is not node.outputs[0] or scalar(guard.inputs[1], probabilities) != 0.0:
        return None
    analysis = Analysis(program.graph)
    found = analysis.bounds(softmax.inputs[0])
    over_rows = int_attr(softmax, "axis", -1) in (-1, (rank(probabilities) or 0) - 1)
    if not found.finite and not (over_rows and _every_row_has_room(softmax.inputs[0], analysis)):
        return Miss(
            f"an infinity can enter the softmax through %{found.culprit}; a row that is −inf throughout gives NaN, which the guard makes 0",
            site_of(guard),
        )
    if not can_replace(guard.outputs[0], probabilities):
        return None
    return Rewrite.edit(
        site_of(guard),
        "no NaN can leave the softmax",
        lambda editor: editor.replace(guard.outputs[0], probabilities),
        anchor=guard,
    )


def _every_row_has_room(scores: onnx_ir.Value | None, analysis: Analysis) -> bool:
    """Whether a constant mask of −∞ leaves something finite in each row, added to scores that are finite themselves."""
    masked = producer(scores, "Add")
    if masked is None:
        return False
    for mask, rest in (masked.inputs, tuple(reversed(masked.inputs))):
        tensor = constant(mask)
        if tensor is None or tensor.size > _MASK_ELEMENTS or len(tensor.shape) < 1:
            continue
        numbers = tensor.numpy().astype(np.float64)
        allowed = np.isfinite(numbers) | np.isneginf(numbers)
        largest = float(np.max(numbers, initial=-np.inf, where=np.isfinite(numbers)))
        width = int(numbers.shape[-1])
        if width > 1 and allowed.all() and np.isfinite(numbers).any(axis=-1).all() and largest < 2.0**100:
            return analysis.bounds(rest).finite
    return False


RULES: tuple[Rule, ...] = (drop_softmax_guard,)
