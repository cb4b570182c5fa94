"""Numbers for named dimensions, where a pass or a target must have some."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netwright.ir.cost.bindings import default_bindings
from netwright.ir.dims import names_in, shape_of
from netwright.ir.errors import DataError
from netwright.ir.program import Program
from netwright.passes.context import Context, Feeds


def named_sizes(program: Program, context: Context) -> dict[str, int]:
    """A number for each name: a usual one, that of the first calibration batch, or the context's; the batch is 1."""
    batch = batch_name(program)
    found = {**default_bindings(program), **_calibrated(program, context), **context.dims}
    return found | {batch: 1} if batch else found


def batch_name(program: Program) -> str:
    """The name that all inputs with a symbolic first axis share there; empty where there is none."""
    firsts = [dims[0] for value in program.inputs if (dims := shape_of(value)) and not isinstance(dims[0], int)]
    names = {dim.value or "" for dim in firsts}
    name = next(iter(names)) if len(names) == 1 else ""
    return name if name.isidentifier() else ""


def unknown_names(program: Program, dims: Mapping[str, int]) -> list[str]:
    """Those of the names that no input or output of the program has."""
    known = names_in(dim for value in (*program.inputs, *program.outputs) for dim in shape_of(value) or ())
    return [name for name in dims if name not in known]


def check_names(program: Program, dims: Mapping[str, int], place: str = "dims") -> None:
    """Refuse numbers for dimensions that there are not, which would be dropped.

    Args:
        program: for which they are meant.
        dims: a number for each name.
        place: what the error names: where they were given.

    Raises:
        DataError: no input or output has a dimension of one of the names.
    """
    unknown = unknown_names(program, dims)
    if unknown:
        raise DataError(
            f"The model has no dimension {', '.join(unknown)}.", place=f"{place}, {unknown[0]}", remedy=f"Its dimensions: {shown(program)}."
        )


def shown(program: Program) -> str:
    """The names of the inputs' dimensions, for messages."""
    return ", ".join(sorted(names_in(dim for value in program.inputs for dim in shape_of(value) or ()))) or "none with a name"


def _calibrated(program: Program, context: Context) -> dict[str, int]:
    """Sizes of named dimensions in the first calibration batch."""
    batches = context.calibration
    if batches is None or iter(batches) is batches:  # what can be read once is not read here
        return {}
    first: Feeds = next(iter(batches), dict[str, np.ndarray]())
    found: dict[str, int] = {}
    for value in program.inputs:
        given = first.get(value.name or "")
        for dim, size in zip(shape_of(value) or (), np.shape(given) if given is not None else (), strict=False):
            if not isinstance(dim, int) and dim.value:
                found.setdefault(dim.value, int(size))
    return found
