"""Whether products of two activations, as of attention, are worth integers: where a target has arrays that can be written."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np

from netwright.ir.cost.bindings import default_bindings
from netwright.ir.dims import evaluate, shape_of
from netwright.passes.quantize.planning import ArrayTarget

if TYPE_CHECKING:
    import onnx_ir

    from netwright.ir.program import Program
    from netwright.passes.context import Context, Feeds

Attention = Literal["auto", "arrays", "vector"]
ATTENTION = ("auto", "arrays", "vector")


def why_vector(attention: Attention, node: onnx_ir.Node, program: Program, context: Context) -> str | None:
    """Why a product of two activations stays float, with numbers; None where both its operands become integers.

    Args:
        attention: what the user wants.
        node: the MatMul.
        program: that it stands in.
        context: data and target.
    """
    if attention != "auto":
        return None if attention == "arrays" else "left float: attention='vector' leaves products of two activations on vector units"
    left, made = (shape_of(value) for value in (node.inputs[0], node.outputs[0]))
    if left is None or made is None or min(len(left), len(made)) < 2:
        return "left float: its sizes are not known, and so not what it would cost in arrays (attention='arrays' puts it there)"
    sizes = dict(_sizes(program, context))
    numbers = [evaluate(dim, sizes) for dim in (*made, left[-1])]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return "left float: its sizes depend on the data, and so what it would cost in arrays (attention='arrays' puts it there)"
    *lead, vectors, outputs, rows = known
    assert isinstance(context.target, ArrayTarget), "asked for only with arrays"
    reason = context.target.why_vector(prod(lead), vectors, rows, outputs)
    return f"left float: {reason} (attention='arrays' puts it there)" if reason is not None else None


def _sizes(program: Program, context: Context) -> Iterator[tuple[str, int]]:
    """A number for each name among dimensions: a usual one, that of the first calibration batch, or the given one; the batch is 1."""
    yield from default_bindings(program).items()
    batches = context.calibration
    once = batches is None or iter(batches) is batches  # what can be read once is not read here
    feeds: Feeds = {} if batches is None or once else next(iter(batches), dict[str, np.ndarray]())
    firsts = {str(dims[0]) for value in program.inputs if (dims := shape_of(value)) and not isinstance(dims[0], int)}
    for value in program.inputs:
        given = np.shape(feeds[value.name]) if value.name is not None and value.name in feeds else ()
        for dim, size in zip(shape_of(value) or (), given, strict=False):
            if not isinstance(dim, int) and dim.value:
                yield dim.value, 1 if str(dim) in firsts else int(size)
    yield from context.dims.items()
