"""One run: steps on chunks of samples, and what products counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from netwright.backends.cim.engines import divide
from netwright.backends.cim.program.access import extents, whole
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import HOST, Accumulate, ChipProgram, Mvm, Requantize, Vector
from netwright.backends.cim.simulator.kernels import requantize
from netwright.backends.cim.simulator.ledger import Ledger
from netwright.backends.cim.simulator.products import Products
from netwright.backends.cim.simulator.regions import Regions
from netwright.backends.cim.simulator.steps import Plan, Slot, Step
from netwright.backends.cim.simulator.values import Values

Progress: TypeAlias = Callable[[int, int], None]
"""Told steps done, and steps in all."""


@dataclass(slots=True)
class Run:
    """A run's steps, and what it counts.

    Attributes:
        chip: the program.
        plan: its steps.
        products: on arrays.
        regions: on vector units.
        dtypes: by slot.
        varying: slots whose values differ from sample to sample.
        progress: told how far it is.
        total: steps in all.
        ledger: what arrays did.
        done: steps so far.
    """

    chip: ChipProgram
    plan: Plan
    products: Products
    regions: Regions
    dtypes: Mapping[Slot, np.dtype]
    varying: frozenset[Slot]
    progress: Progress | None
    total: int
    ledger: Ledger
    done: int = 0

    def chunk(self, given: Mapping[str, np.ndarray], first: int, samples: int) -> dict[str, np.ndarray]:
        """Outputs [samples or 1, …] of a chunk whose first sample has this number."""
        values = Values(self.plan.extents, self.dtypes)
        for slot, name in self.plan.tensors.items():
            if name in given and self._is_fed(slot):
                box = self.plan.extents[slot]
                values.write(slot, box, given[name][_cut(box)])
        for number, step in enumerate(self.plan.steps):
            for index, box in enumerate(step.boxes):
                if isinstance(step.one, Mvm):
                    self._multiply(step, step.one, (number, index), values, first, samples)
                else:
                    self._carry_out(step, box, values)
            for slot in step.free:
                values.free(slot)
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, self.total)
        return {port.name: self._output(port.name, values) for port in self.chip.outputs}

    def _is_fed(self, slot: Slot) -> bool:
        return isinstance(slot, str) or (isinstance(slot, int) and self.chip.buffers[slot].tile == HOST)

    def _output(self, name: str, values: Values) -> np.ndarray:
        return values.read(output_slot(self.chip, self.plan, name), whole(self.chip.tensors[name].shape))

    def _carry_out(self, step: Step, box: Box, values: Values) -> None:
        one = step.one
        if isinstance(one, Accumulate):
            parts = [values.read(slot, box) for slot in step.sources]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            values.write(step.targets[0], box, divide(total, one.denominator))
        elif isinstance(one, Requantize):
            scaling = self.chip.scalings[one.scaling]
            own = slice(*box[-1])
            bias, multiplier, dtype = scaling.bias[own], scaling.multiplier[own], np.dtype(scaling.dtype)
            sums = values.read(step.sources[0], box)
            made = requantize(sums, bias, multiplier, scaling.zero_point, scaling.low, scaling.high, dtype)
            values.write(step.targets[0], box, made)
        elif isinstance(one, Vector):
            self.regions.run(one, step.sources, step.targets, box, values)
        else:
            values.write(step.targets[0], box, values.read(step.sources[0], box))

    def _multiply(self, step: Step, one: Mvm, at: tuple[int, int], values: Values, first: int, samples: int) -> None:
        box, number = step.boxes[at[1]], first if any(slot in self.varying for slot in step.sources) else 0
        multiply = self.products.multiply if len(step.sources) == 1 else self.products.multiply_written
        found, counts, engine, computed = multiply(one, step.sources, box, values, number)
        values.write(step.targets[0], box, found)
        self.ledger.count(at, counts, samples // computed, engine)  # what does not depend on the sample is still done for each


def output_slot(chip: ChipProgram, plan: Plan, name: str) -> Slot:
    """The slot that holds an output at the end: the tensor, or the host's buffer of all of it."""
    if name in plan.extents:
        return name
    box = whole(chip.tensors[name].shape)
    return next(number for number, one in enumerate(chip.buffers) if one.tile == HOST and one.tensor == name and one.box == box)


def varying(plan: Plan, batched: AbstractSet[str]) -> frozenset[Slot]:
    """Slots whose values depend on inputs that have a batch."""
    found = {slot for slot, name in plan.tensors.items() if name in batched}
    for step in plan.steps:
        if any(slot in found for slot in step.sources):
            found.update(step.targets)
    return frozenset(found)


def peak(plan: Plan, dtypes: Mapping[Slot, np.dtype]) -> int:
    """Most bytes that live at once, of one sample."""
    sizes = {slot: int(np.prod(extents(box), dtype=np.int64)) * dtypes[slot].itemsize for slot, box in plan.extents.items()}
    made = {slot for step in plan.steps for slot in step.targets}
    living = sum(size for slot, size in sizes.items() if slot not in made)
    most = living
    for step in plan.steps:
        living += sum(sizes[slot] for slot in step.targets)
        most = max(most, living)
        living -= sum(sizes[slot] for slot in step.free)
    return most


def _cut(box: Box) -> tuple[slice, ...]:
    return (slice(None), *(slice(start, stop) for start, stop in box))
