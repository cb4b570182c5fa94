"""Sensible sizes for dimensions that have only a name."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir

from netwright.ir.dims import names_in, shape_of
from netwright.ir.opinfo import is_float
from netwright.ir.program import Program
from netwright.ir.shape_context import is_generated
from netwright.ir.shapes import generated_joints

BATCH, LENGTH, PIXELS, CHANNELS, SAMPLES = 1, 128, 224, 3, 16_000


def default_bindings(program: Program) -> dict[str, int]:
    """Sizes for the program's named dimensions, for costs and sample inputs; whoever uses them shows them.

    By name first: `batch…` is 1, `height` and `width` 224, `channels` 3. Then by the first input in which the name occurs:
    the first axis is 1; of a 4-dimensional float input the second is 3 and the others 224; the second axis of the only
    input, if it is float and 2-dimensional (a waveform), is 16,000. Everything else is 128. Names that inference made up
    for inner values, and names that only an output declares of which inference knows more, are left out: `Cost` works those out itself.
    """
    sizes: dict[str, int] = {}
    joints = generated_joints(program)
    for value, axis, name in _occurrences(program):
        if name not in sizes:
            sizes[name] = _by_name(name) or _by_place(program, value, axis)
    for graph in program.graphs():
        for value in graph.outputs:
            for name in sorted(names_in(shape_of(value) or ())):
                if name not in sizes and name not in joints and not is_generated(name):
                    sizes[name] = _by_name(name) or LENGTH
    return sizes


def _occurrences(program: Program) -> Iterator[tuple[onnx_ir.Value, int, str]]:
    for value in program.inputs:
        for axis, dim in enumerate(shape_of(value) or ()):
            for name in sorted(names_in((dim,))):
                yield value, axis, name


def _by_name(name: str) -> int:
    lowered = name.lower()
    if "batch" in lowered or lowered in ("n", "b", "bs"):
        return BATCH
    if lowered in ("height", "width", "h", "w"):
        return PIXELS
    return CHANNELS if lowered in ("channels", "channel", "c") else 0


def _by_place(program: Program, value: onnx_ir.Value, axis: int) -> int:
    rank = len(shape_of(value) or ())
    if axis == 0 and rank > 1:
        return BATCH
    if is_float(value.dtype) and rank == 4:
        return CHANNELS if axis == 1 else PIXELS
    if is_float(value.dtype) and rank == 2 and len(program.inputs) == 1:
        return SAMPLES
    return LENGTH
