"""Values of slots, for some samples at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netwright.backends.cim.program.access import contains, extents, volume
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.simulator.steps import Slot
from netwright.ir.errors import RunError


class Values:
    """Arrays [samples, …one sample's box] by slot; [1, …] for what all samples share."""

    def __init__(self, boxes: Mapping[Slot, Box], dtypes: Mapping[Slot, np.dtype]) -> None:
        self._boxes = boxes
        self._dtypes = dtypes
        self._arrays: dict[Slot, np.ndarray] = {}

    def read(self, slot: Slot, box: Box) -> np.ndarray:
        """A view of a box; one of no elements is there without anybody who makes it."""
        held, found = self._boxes[slot], self._arrays.get(slot)
        if found is None and volume(box) == 0:
            return np.zeros((1, *extents(box)), self._dtypes[slot])
        if found is None or not contains(held, box):
            raise RunError(f"{slot} does not hold {box}.", place=str(slot))
        return found if box == held else found[_within(held, box)]

    def write(self, slot: Slot, box: Box, values: np.ndarray) -> None:
        """Set a box; values [samples or 1, …]. What is not written yet is 0."""
        held, dtype = self._boxes[slot], self._dtypes[slot]
        if values.shape[1:] != extents(box):
            raise RunError(f"{slot}: values of {values.shape[1:]} were made for {box}.", place=str(slot))
        values = _fitted(values, dtype, slot)
        found = self._arrays.get(slot)
        if box == held:
            self._arrays[slot] = values
            return
        if found is None or len(found) < len(values):
            grown = np.zeros((len(values), *extents(held)), dtype)
            if found is not None:
                grown[:] = found
            self._arrays[slot] = found = grown
        found[_within(held, box)] = values

    def free(self, slot: Slot) -> None:
        """Let go."""
        self._arrays.pop(slot, None)


def _within(held: Box, box: Box) -> tuple[slice, ...]:
    return (slice(None), *(slice(start - first, stop - first) for (first, _), (start, stop) in zip(held, box, strict=True)))


def _fitted(values: np.ndarray, dtype: np.dtype, slot: Slot) -> np.ndarray:
    if values.dtype == dtype:
        return values
    if values.dtype.kind not in "iu" or dtype.kind not in "iu":
        raise RunError(f"{slot} is {dtype}, and {values.dtype} was made.", place=str(slot))
    limits = np.iinfo(dtype)
    if values.size and (values.min() < limits.min or values.max() > limits.max):
        raise RunError(f"{slot} is {dtype}, and values from {values.min()} to {values.max()} were made.", place=str(slot))
    return values.astype(dtype)
