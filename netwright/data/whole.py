"""Arrays that hold a whole data set, cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from netwright.data.items import Batch, to_batch
from netwright.ir.errors import DataError
from netwright.ir.signature import Port, to_array


def split_whole(arrays: Mapping[str, object], ports: tuple[Port, ...], batch_size: int | None, *, where: str = "") -> Iterator[Batch]:
    """Cut arrays into batches.

    Arrays of the inputs' rank are one batch, cut along the first axis by `batch_size`, or by the size that the program fixes for that
    axis; arrays of one rank more are a stack of batches.

    Raises:
        DataError: arrays that disagree on how many batches or samples there are, or do not fit the inputs.
    """
    known = {port.name: port for port in ports}
    found = {name: to_array(value, place=_join(where, name)) for name, value in arrays.items()}
    inputs = {name: array for name, array in found.items() if name in known}
    stacked = _are_stacked(inputs, known, where)
    step = None if stacked else batch_size or _fixed_size(inputs, known)
    if not stacked and step is None:
        yield to_batch(found, ports, where=_join(where, "batch 0"))
        return
    total = _common_length(found, inputs, where, "batches" if stacked else "samples")
    width = step or 1
    if not stacked and batch_size is None and total % width:
        raise DataError(
            f"The program takes {width} samples at a time, and {total} were given.",
            place=where or "data",
            remedy=f"Give a multiple of {width}.",
        )
    for index, start in enumerate(range(0, total, width)):
        cut = {name: array[start] if stacked else array[start : start + width] for name, array in found.items()}
        yield to_batch(cut, ports, where=_join(where, f"batch {index}"))


def _are_stacked(inputs: Mapping[str, np.ndarray], known: Mapping[str, Port], where: str) -> bool:
    """True when every input has one axis more than the program's."""
    more = {name: array.ndim - rank for name, array in inputs.items() if (rank := known[name].rank) is not None}
    if not more or all(extra != 1 for extra in more.values()):
        return False
    if any(extra != 1 for extra in more.values()):
        listed = ", ".join(f"{name} {list(inputs[name].shape)}" for name in more)
        raise DataError(
            f"Some inputs are stacks of batches and some are not: {listed}.", place=where or "data", remedy="Stack all of them, or none."
        )
    return True


def _fixed_size(inputs: Mapping[str, np.ndarray], known: Mapping[str, Port]) -> int | None:
    """The size that the program fixes for the first axis of every input, if the data holds several times that."""
    sizes = {shape[0] if (shape := known[name].shape) else None for name in inputs}
    if len(sizes) != 1:
        return None
    size = sizes.pop()
    if not isinstance(size, int) or size < 1:
        return None
    longer = any(array.ndim and array.shape[0] > size for array in inputs.values())
    return size if longer else None


def _common_length(found: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray], where: str, what: str) -> int:
    lengths = {name: array.shape[0] if array.ndim else 0 for name, array in found.items()}
    first = lengths[next(iter(inputs))]
    if any(length != first for length in lengths.values()):
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(
            f"The arrays disagree on how many {what} there are: {listed}.", place=where or "data", remedy="Give as many of each."
        )
    return first


def _join(where: str, part: str) -> str:
    return f"{where}, {part}" if where else part
