"""Grids on which HardSigmoid is no computation at all.

HardSigmoid, `clip(a x + b, 0, 1)`, of integers on a grid of which `b / a` is a whole number of steps is those integers, cut at two of
them, on a grid of its own (`folding/rescaling.py`). Where only HardSigmoid, and the product with it, read a value, what lies below
`-b / a` becomes zero and so need not be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir

from netwright.ir.opinfo import is_standard
from netwright.ir.program import Program
from netwright.passes.quantize.choice import ActivationGrid
from netwright.passes.quantize.static.operators import rescaling

_COARSER = 1.5
"""How much coarser than calibrated a grid may become."""


def fitted(program: Program, grids: Mapping[str, ActivationGrid]) -> dict[str, ActivationGrid]:
    """The grids, those of HardSigmoid's operands moved so that its bounds are numbers of theirs. Linear in nodes."""
    found = dict(grids)
    for node in program.nodes("HardSigmoid", "HardSwish", domain=""):
        value = node.inputs[0]
        grid = grids.get(value.name or "") if value is not None else None
        reach = _reach(node)
        if value is None or grid is None or reach is None or grid.signed:
            continue
        moved = _moved(grid, reach, _is_cut_below(value), all(is_standard(user, "HardSigmoid") for user, _ in value.uses()))
        if moved is not None:
            found[value.name or ""] = moved
    return found


def _reach(node: onnx_ir.Node) -> float | None:
    """`b / a`, where the bounds lie symmetrically: from there on HardSigmoid is 0 or 1."""
    if node.op_type == "HardSwish":
        return 3.0
    change = rescaling(node)
    return change.shift / change.factor if change is not None and change.shift == 0.5 else None


def _is_cut_below(value: onnx_ir.Value) -> bool:
    """True where a value is read by HardSigmoid, and multiplied with what it makes, and that is all."""
    readers = [user for user, _ in value.uses()]
    gates = {user.outputs[0] for user in readers if is_standard(user, "HardSigmoid")}
    return not value.is_graph_output() and all(
        is_standard(user, "HardSigmoid", "HardSwish") or (is_standard(user, "Mul") and any(operand in gates for operand in user.inputs))
        for user in readers
    )


def _moved(grid: ActivationGrid, reach: float, cut_below: bool, cut_above: bool) -> ActivationGrid | None:
    low, high = (grid.low - grid.zero_point) * grid.scale, (grid.high - grid.zero_point) * grid.scale
    low = -reach if cut_below else min(low, -reach)
    high = min(high, reach) if cut_above else high
    steps = int(reach / ((high - low) / (grid.high - grid.low)))
    if steps < 1:
        return None
    scale = float(np.float32(reach / steps))
    zero = min(max(round(-low / scale), steps), grid.high)
    if scale > _COARSER * grid.scale or steps > zero:
        return None
    return replace(grid, scale=scale, zero_point=zero)
