"""Regions on values: many samples at once where that gives the same bits, one after the other elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.backends.cim.program.access import cut_alike, extents, shape_of, whole
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import ChipProgram, Tensor, Vector
from netwright.backends.cim.program.regions import region_program
from netwright.backends.cim.simulator.activity import RegionLoader, Runner
from netwright.backends.cim.simulator.stacking import stackable
from netwright.backends.cim.simulator.steps import Slot
from netwright.backends.cim.simulator.values import Values
from netwright.ir.errors import RunError


@dataclass(slots=True)
class Regions:
    """The regions of one program, loaded when first run."""

    chip: ChipProgram
    loader: RegionLoader
    _runners: dict[tuple[int, bool], Runner]
    _stackable: dict[int, bool]

    def run(self, one: Vector, sources: tuple[Slot, ...], targets: tuple[Slot, ...], box: Box, values: Values) -> None:
        """Make a box of every target."""
        chip = self.chip
        region, shape = chip.regions[one.region], shape_of(chip, one.targets[0])
        read = [chip.tensors[name] for name in region.inputs]
        made = [chip.tensors[name] for name in region.outputs]
        given = [values.read(slot, cut_alike(shape, box, tensor.shape)) for slot, tensor in zip(sources, read, strict=True)]
        runner = self._runner(one.region, cut=box != whole(shape))
        samples = max((len(one_given) for one_given in given), default=1)
        stacks = all(len(a) == samples or t.batch_axis >= 0 for a, t in zip(given, read, strict=True))
        if samples > 1 and stacks and self._together(one.region):
            stacked = {tensor.name: _stacked(array, tensor, samples) for array, tensor in zip(given, read, strict=True)}
            results = runner(stacked)
            found = [_unstacked(results[tensor.name], tensor, samples) for tensor in made]
        else:
            feeds = zip(*(np.broadcast_to(array, (samples, *array.shape[1:])) for array in given), strict=True) if given else [()]
            each = [runner({tensor.name: array for tensor, array in zip(read, own, strict=True)}) for own in feeds]
            found = [np.stack([result[tensor.name] for result in each]) for tensor in made]
        for slot, tensor, array in zip(targets, made, found, strict=True):
            part = cut_alike(shape, box, tensor.shape)
            if array.dtype != dtype_of(tensor) or array.shape[1:] != extents(part):
                came = f"{array.dtype} {array.shape[1:]}, not {tensor.dtype} {extents(part)}"
                raise RunError(f"{tensor.name} came out as {came}.", place=f"region {region.name}")
            values.write(slot, part, array)

    def _together(self, number: int) -> bool:
        if number not in self._stackable:
            region = self.chip.regions[number]
            self._stackable[number] = region.batchable and stackable(region_program(region))
        return self._stackable[number]

    def _runner(self, number: int, *, cut: bool) -> Runner:
        found = self._runners.get((number, cut))
        if found is None:
            program = region_program(self.chip.regions[number])
            if cut:
                for value in (*program.graph.inputs, *program.graph.outputs):
                    value.shape = onnx_ir.Shape([f"{value.name}_{axis}" for axis in range(len(value.shape or ()))])
            found = self._runners[number, cut] = self.loader(program)
        return found


def dtype_of(tensor: Tensor) -> np.dtype:
    """A tensor's element type."""
    return onnx_ir.DataType[_ONNX.get(tensor.dtype, tensor.dtype.upper())].numpy()


_ONNX = {"float32": "FLOAT", "float64": "DOUBLE"}


def _stacked(array: np.ndarray, tensor: Tensor, samples: int) -> np.ndarray:
    """[samples, …1…] → […samples…], along the batch axis."""
    array = np.broadcast_to(array, (samples, *array.shape[1:]))
    axis = tensor.batch_axis
    moved = np.moveaxis(array, 0, axis)
    return np.ascontiguousarray(moved.reshape(*moved.shape[: axis + 1], *moved.shape[axis + 2 :]))


def _unstacked(array: np.ndarray, tensor: Tensor, samples: int) -> np.ndarray:
    """[…samples…] → [samples, …1…]."""
    axis = tensor.batch_axis
    if axis < 0 or array.ndim <= axis or array.shape[axis] != samples:
        raise RunError(f"{tensor.name} came out as {array.shape} for {samples} samples.", place=f"tensor {tensor.name}")
    return np.moveaxis(np.expand_dims(array, axis + 1), axis, 0)
