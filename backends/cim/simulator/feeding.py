"""What a caller feeds, as samples; and samples as what a caller gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from netwright.backends.cim.program.model import ChipProgram, Tensor
from netwright.ir.errors import DataError, RunError
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
        if is_batched(port, tensor):
            axis = tensor.batch_axis
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


def joined(port: Port, tensor: Tensor, pieces: Sequence[np.ndarray], samples: int) -> np.ndarray:
    """What a caller gets of an output's samples, [n or 1, …] for each chunk."""
    shared = all(len(piece) == 1 and np.array_equal(pieces[0], piece) for piece in pieces) or samples == 1
    if shared and not is_batched(port, tensor):
        return np.ascontiguousarray(pieces[0][0])
    if is_batched(port, tensor):
        axis = tensor.batch_axis
        whole = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
        whole = np.broadcast_to(whole, (samples, *whole.shape[1:])) if len(whole) != samples else whole
        return np.ascontiguousarray(np.moveaxis(whole, 0, axis).reshape(*whole.shape[1 : axis + 1], samples, *whole.shape[axis + 2 :]))
    if port.shape and not isinstance(port.shape[0], int):  # rows of samples one after the other
        return np.concatenate([sample for piece in pieces for sample in piece])
    raise RunError(
        f"{port.name!r} differs from sample to sample and has no axis for them.",
        place=f"output {port.name}",
        remedy="Run one sample at a time.",
    )


def is_batched(port: Port, tensor: Tensor) -> bool:
    """True where an input or output has an axis of samples."""
    return tensor.batch_axis >= 0 and port.shape is not None and not isinstance(port.shape[tensor.batch_axis], int)
