"""Whether what is taken for the batch is one: a chip's program computes one sample, and nothing of it may depend on another."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.errors import DataError, RunError
from netwright.ir.program import Program
from netwright.passes.context import Context, Executor, Feeds
from netwright.passes.sizes import is_like_batch

_CLOSE = 0.02
"""How far apart, as a share of the largest output, two samples may come out together and alone: integers turn last bits into steps."""


def refuse_mixing(program: Program, batch: str, context: Context) -> None:
    """Run two samples together and alone, where the batch was told by its place: a name such as `rows` may be a sequence's.

    Needs what runs programs and makes up inputs; without these nothing is refused.

    Args:
        program: with names still.
        batch: the name taken for the batch.
        context: what runs it.

    Raises:
        DataError: a sample comes out otherwise beside another one.
    """
    if not batch or is_like_batch(batch) or context.executor is None or context.samples is None:
        return
    for one in context.samples(program):
        other = {name: np.flip(array).copy() for name, array in one.items()}
        mixed = _mixed(program, batch, context.executor, one, other)
        if mixed:
            raise DataError(
                f"The dimension {batch} is no batch: {mixed} comes out otherwise when two samples run together.",
                place=f"dims, {batch}",
                remedy=f"Give it a number: dims={{'{batch}': 16}}, or --shape {batch}=16.",
            )
        return


def _mixed(program: Program, batch: str, executor: Executor, one: Feeds, other: Feeds) -> str:
    """The first output that two samples change for each other; empty where there is none."""
    axes = {value.name or "": _axis(value, batch) for value in program.inputs}
    if any(one[name].shape[axis] != 1 for name, axis in axes.items() if axis is not None):
        return ""
    other = {name: array if axes[name] is not None else one[name] for name, array in other.items()}
    both = {name: array if (axis := axes[name]) is None else np.concatenate([array, other[name]], axis) for name, array in one.items()}
    try:
        together, first, second = executor.run(program, both), executor.run(program, one), executor.run(program, other)
    except RunError:
        return ""  # what does not run for any two samples tells nothing
    for value in program.outputs:
        name, axis = value.name or "", _axis(value, batch)
        if axis is None or not np.can_cast(together[name].dtype, np.float64, "same_kind"):
            continue
        apart = np.concatenate([first[name], second[name]], axis).astype(np.float64)
        largest = float(np.abs(apart).max(initial=0.0))
        if apart.shape != together[name].shape:
            return name
        if np.isfinite(largest) and float(np.abs(together[name] - apart).max(initial=0.0)) > _CLOSE * largest:
            return name
    return ""


def _axis(value: onnx_ir.Value, batch: str) -> int | None:
    for axis, dim in enumerate(shape_of(value) or ()):
        if not isinstance(dim, int) and dim.value == batch:
            return axis
    return None
