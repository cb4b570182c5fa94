"""What a caller feeds, as samples; and samples as what a caller gets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from netwright.backends.cim.program.model import ChipProgram
from netwright.ir.errors import DataError
from netwright.ir.signature import Port, fit_feeds


def samples_of(chip: ChipProgram, feeds: Mapping[str, object]) -> tuple[dict[str, np.ndarray], int]:
    """Feeds as [samples, …one sample's shape], [1, …] where an input has no batch; and how many samples there are.

    Raises:
        DataError: a feed does not fit its input, or batches differ.
    """
    fitted = fit_feeds(feeds, chip.inputs)
    found: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for port in chip.inputs:
        tensor, array = chip.tensors[port.name], fitted[port.name]
        axis = batch_axis(port)
        if axis >= 0:
            counts[port.name] = array.shape[axis]
            array = np.moveaxis(np.expand_dims(array, axis + 1), axis, 0)
        else:
            array = array[None]
        if array.shape[1:] != tensor.shape:
            raise DataError(
                f"{port.name!r} was given {list(fitted[port.name].shape)}; the program was compiled for samples of {list(tensor.shape)}.",
                place=f"input {port.name}",
                remedy="Compile it for this shape.",
            )
        found[port.name] = array
    if len(set(counts.values())) > 1 or 0 in counts.values():
        told = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise DataError(f"The inputs' batches are not of one size above 0: {told}.", place="inputs", remedy="Feed as many samples of each.")
    return found, next(iter(counts.values()), 1)


def check_batch(chip: ChipProgram, samples: int, varying: Collection[str]) -> None:
    """Hold that a batch's results have a place in every output.

    Args:
        chip: the program.
        samples: of the batch.
        varying: outputs that depend on what has a batch.

    Raises:
        DataError: several samples make an output that has no axis for them.
    """
    for port in chip.outputs:
        if samples > 1 and batch_axis(port) < 0 and port.name in varying:
            raise DataError(
                f"{port.name!r} is made anew of every sample and has no axis for {samples} of them: it is {port}.",
                place=f"output {port.name}",
                remedy="Run one sample at a time.",
            )


def joined(port: Port, pieces: Sequence[np.ndarray], samples: int) -> np.ndarray:
    """What a caller gets of an output's samples, [n, …one sample's shape] of each chunk, or [1, …] of what all samples share."""
    axis = batch_axis(port)
    if axis < 0:
        return np.array(pieces[0][0], order="C")
    whole = np.concatenate(pieces) if sum(map(len, pieces)) == samples else np.broadcast_to(pieces[0], (samples, *pieces[0].shape[1:]))
    return np.ascontiguousarray(np.moveaxis(whole, 0, axis).reshape(*whole.shape[1 : axis + 1], samples, *whole.shape[axis + 2 :]))


def batch_axis(port: Port) -> int:
    """The axis of samples of an input or output: the one whose size is a name; −1 where there is none."""
    return next((axis for axis, size in enumerate(port.shape or ()) if not isinstance(size, int)), -1)
