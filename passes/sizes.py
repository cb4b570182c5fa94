"""Numbers for named dimensions, where a pass or a target must have some."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from netwright.ir.cost.bindings import default_bindings
from netwright.ir.dims import names_in, shape_of
from netwright.ir.errors import DataError
from netwright.ir.program import Program
from netwright.passes.context import Context, Feeds


def named_sizes(program: Program, context: Context) -> dict[str, int]:
    """A number for each name: a usual one, that of the first calibration batch, or the context's; the batch is 1."""
    batch = batch_name(program, context.dims)
    found = {**default_bindings(program), **calibrated_sizes(program, context), **context.dims}
    return found | {batch: 1} if batch else found


def batch_name(program: Program, dims: Mapping[str, int] = MappingProxyType({})) -> str:
    """The name of the batch among the inputs' dimensions; empty where there is none.

    The one name like a batch's (`batch…`, `n`, `b`, `bs`), on whatever axis; else the name that all symbolic first axes share, unless it is
    given a number but 1: then it is a size like others.

    Args:
        program: whose inputs are looked at.
        dims: numbers given for names.
    """
    named = {dim.value for value in program.inputs for dim in shape_of(value) or () if not isinstance(dim, int) and dim.value}
    likely = {name for name in named if is_like_batch(name)}
    if len(likely) == 1:
        return likely.pop()
    firsts = {axes[0].value or "" for value in program.inputs if (axes := shape_of(value)) and not isinstance(axes[0], int)}
    name = next(iter(firsts)) if len(firsts) == 1 else ""
    return name if name.isidentifier() and (is_like_batch(name) or dims.get(name, 1) == 1) else ""


def is_like_batch(name: str) -> bool:
    """True of names that say that they are a batch's."""
    return name.isidentifier() and ("batch" in name.lower() or name.lower() in ("n", "b", "bs"))


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


def calibrated_sizes(program: Program, context: Context) -> dict[str, int]:
    """Sizes of named dimensions in the first calibration batch; none of data that can be read once."""
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
