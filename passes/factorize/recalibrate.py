"""After factors stand in the graph: each chain's last stage solved anew on what comes through the factorized program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.opinfo import is_standard
from netwright.ir.program import constant
from netwright.passes.base import Proposals
from netwright.passes.refit import WIDEST, PatchSite, Site, bias_place, solve_anew
from netwright.passes.rewrite import Miss
from netwright.passes.statistics import layer_of

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context


def recalibrate(before: Program, program: Program, outputs: Sequence[str], context: Context) -> Proposals:
    """Solve the last stage of each chain for the output that the program before gave, in order from the inputs on.

    The factors were fitted to inputs that the whole program makes; at high ratios those of the factorized one differ. With the first
    stages as they are, the last is linear in what it sees, so least squares gives the best one; it is kept where its error falls on
    held-out rows. (SVD-LLM, arXiv 2403.07378, updates in order in the same spirit.)

    Args:
        before: the program with its weights whole.
        program: the same with factors; values have the names that they had.
        outputs: names of the values that factorized operators made in the program before.
        context: calibration data and an executor.

    Returns:
        A rewrite for each layer that gains; a Miss for each that does not or cannot be solved.
    """
    sites: list[Site] = []
    for name in outputs:
        found = _site(before, program, name)
        if isinstance(found, Miss):
            yield found
        else:
            sites.append(found)
    yield from solve_anew(before, program, sites, context)


def _site(before: Program, program: Program, name: str) -> PatchSite | Miss:
    """The last stage of a chain as a layer to be solved."""
    was, now = before.value(name).producer(), _maker(program, name)
    old, layer = (None if node is None else layer_of(node) for node in (was, now))
    if was is None or now is None or old is None or layer is None:
        kind = "nothing" if now is None else now.op_type
        return Miss(f"its factors are not solved anew: {kind} makes its output, which is no product or convolution with a weight", name)
    if len(layer.weight.uses()) > 1:
        return Miss("its factors are not solved anew: several layers share them", name)
    features = layer.channels * layer.taps
    if features > WIDEST:
        return Miss(f"its factors are not solved anew: {features} inputs of the last are more than {WIDEST}", name)
    bias = bias_place(layer)
    return PatchSite(bias.output.name or name, now, was, layer, old, layer.data.name or "", bias, np.arange(layer.outputs))


def _maker(program: Program, name: str) -> onnx_ir.Node | None:
    """The last stage: what makes the value, or what an Add of a bias takes."""
    try:
        node = program.value(name).producer()
    except KeyError:
        return None
    if node is not None and is_standard(node, "Add"):
        product = next((value for value in node.inputs if value is not None and constant(value) is None), None)
        return None if product is None else product.producer()
    return node
