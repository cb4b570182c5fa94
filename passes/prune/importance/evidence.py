"""What criteria judge by: weights, gradients and activations, each computed once for all groups, and only when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.coupling.group import Group, Slice
from netwright.ir.errors import ContractError, DataError, UnsupportedModelError
from netwright.ir.program import array
from netwright.passes.prune.importance.consumers import Consumer, consumers_of
from netwright.passes.prune.importance.heads import Attention, Projection, attentions
from netwright.passes.statistics import Moments, feeds_of, pieces

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context, Executor, Gradients, Loss

GRADIENT_PIECES, GRADIENT_ROWS = 64, 8
"""First-order terms are taken over so many small batches of so many rows: of one large batch at a minimum they would be nearly zero."""

FISHER_ROWS = 256
"""Rows whose squared gradients are averaged."""

MOMENT_BYTES = 1 << 29
"""How much second moments may take at once; more activations take more passes over the data."""


@dataclass(slots=True, eq=False)
class Evidence:
    """What is known of a program whose groups are judged.

    Attributes:
        program: left as it is.
        context: data, gradients, an executor, a seed.
        groups: that are judged.
    """

    program: Program
    context: Context
    groups: Sequence[Group]
    _first: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    _fisher: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    _powers: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    _moments: dict[str, dict[str, Moments]] = field(default_factory=dict[str, "dict[str, Moments]"])
    _inputs: dict[str, Moments] = field(default_factory=dict[str, Moments])
    _trainable: frozenset[str] | None = None
    _attentions: list[Attention] | None = None
    _consumers: dict[str, list[Consumer]] = field(default_factory=dict[str, "list[Consumer]"])

    # ---- weights ---------------------------------------------------------------------------------------------------

    def weight(self, name: str) -> np.ndarray:
        """A weight's elements, as they are stored.

        Raises:
            UnsupportedModelError: it is no constant (any more).
        """
        data = array(self.program.value(name))
        if data is None:
            raise UnsupportedModelError(f"The weight %{name} is not constant.", place=name, remedy="Run simplify first.")
        return data

    def alive(self, group: Group) -> np.ndarray:
        """Which units have a producing slice that is not all zero, bool [size]."""
        found = np.zeros(group.size, bool)
        for part in group.producing:
            found |= self.sums(group, part, self.weight(part.weight) != 0) > 0
        return found if group.producing else ~found

    @staticmethod
    def sums(group: Group, part: Slice, elements: np.ndarray) -> np.ndarray:
        """Sums of an array of a weight's shape over each unit's slice, float64 [size]."""
        along = elements.sum(axis=tuple(axis for axis in range(elements.ndim) if axis != part.axis), dtype=np.float64)
        return fold(part.units, along, group.size)

    # ---- gradients -------------------------------------------------------------------------------------------------

    def first_order(self, group: Group) -> np.ndarray:
        """Σ w ∂L/∂w over each unit's slices, for each of a number of small batches: [batches, size].

        Raises:
            ContractError: no training data, loss or gradients in the context.
        """
        if not self._first:
            parts = {one.name: self.trained(one) for one in self.groups}
            names = list(dict.fromkeys(part.weight for each in parts.values() for part in each))
            found: dict[str, list[np.ndarray]] = {one.name: [] for one in self.groups}
            batches = self._training(GRADIENT_ROWS, GRADIENT_PIECES)
            for gradients in self._gradients.each(self.program, batches, self._loss, names):
                products = {name: self.weight(name) * gradient for name, gradient in gradients.items()}
                for one in self.groups:
                    sums = [self.sums(one, part, products[part.weight]) for part in parts[one.name]]
                    found[one.name].append(np.sum(sums, axis=0) if sums else np.zeros(one.size))
            self._first = {name: np.stack(rows) for name, rows in found.items()}
        return self._first[group.name]

    def fisher(self, name: str) -> np.ndarray:
        """The diagonal of the empirical Fisher matrix for a weight: the mean squared gradient of single rows, of the weight's shape.

        Raises:
            ContractError: no training data, loss or gradients in the context.
        """
        if not self._fisher:
            names = list(dict.fromkeys(part.weight for group in self.groups for part in self.trained(group)))
            self._fisher = self._gradients.squares(self.program, self._training(1, FISHER_ROWS), self._loss, names)
        return self._fisher[name]

    def trained(self, group: Group) -> list[Slice]:
        """The slices of weights that have gradients.

        Raises:
            ContractError: no gradients in the context.
        """
        if self._trainable is None:
            self._trainable = self._gradients.weights(self.program)
        return [part for part in counted(group) if part.weight in self._trainable]

    def _training(self, rows: int, most: int) -> list[dict[str, np.ndarray]]:
        data = self.context.training if self.context.training is not None else self.context.calibration
        if data is None:
            raise _missing("training data with labels", "training=")
        return pieces(self.program, data, rows=rows, most=most, seed=self.context.seed)

    @property
    def _loss(self) -> Loss:
        if self.context.loss is None:
            raise _missing("a loss", "loss=")
        return self.context.loss

    @property
    def _gradients(self) -> Gradients:
        if self.context.gradients is None:
            raise _missing("a backend that computes gradients", "the extra 'train'")
        return self.context.gradients

    # ---- activations -----------------------------------------------------------------------------------------------

    def consumers(self, group: Group) -> list[Consumer]:
        """The layers that consume the units, with the activation that each sees."""
        if not self._consumers:
            self._consumers = {one.name: consumers_of(self.program, one) for one in self.groups}
        return self._consumers[group.name]

    @property
    def has_activations(self) -> bool:
        """True with calibration data and an executor."""
        return self.context.calibration is not None and self.context.executor is not None

    def power(self, consumer: Consumer) -> np.ndarray:
        """E[x²] by channel of the activation that a consumer sees, float64 [channels].

        Raises:
            ContractError: no calibration data or executor in the context.
        """
        if consumer.value not in self._powers:
            known = (one for group in self.groups for one in self.consumers(group))
            wanted = {one.value: one.axis for one in (consumer, *known) if one.value not in self._powers}
            totals: dict[str, np.ndarray] = {}
            counts = dict.fromkeys(wanted, 0)
            for found in self._runs(list(wanted)):
                for name, axis in wanted.items():
                    rows = channels_last(found[name], axis)
                    squares = np.einsum("ij,ij->j", rows, rows, dtype=np.float64)
                    totals[name] = totals[name] + squares if name in totals else squares
                    counts[name] += len(rows)
            self._powers.update({name: total / max(1, counts[name]) for name, total in totals.items()})
        return self._powers[consumer.value]

    def moments(self, group: Group) -> Mapping[str, Moments]:
        """Second moments over channels of each activation that the group's consumers see, by name.

        One pass over the data serves as many groups, from this one on, as fit into `MOMENT_BYTES`; they are kept until others are.

        Raises:
            ContractError: no calibration data or executor in the context.
        """
        if group.name not in self._moments:
            self._moments.clear()
            wanted: dict[str, Consumer] = {}
            taken: list[Group] = []
            for one in self.groups[[each.name for each in self.groups].index(group.name) :]:
                more = {each.value: each for each in self.consumers(one)}
                if taken and sum(8 * len(each.units) ** 2 for each in {**wanted, **more}.values()) > MOMENT_BYTES:
                    break
                wanted |= more
                taken.append(one)
            made = {name: Moments(len(one.units)) for name, one in wanted.items()}
            for found in self._runs(list(wanted)):
                for name, one in wanted.items():
                    made[name].add(channels_last(found[name], one.axis))
            self._moments.update({one.name: {each.value: made[each.value] for each in self.consumers(one)} for one in taken})
        return self._moments[group.name]

    def second_moments(self, values: Mapping[str, int]) -> dict[str, Moments]:
        """Second moments over the last axis of activations, for a criterion that wants others than the consumers'.

        Args:
            values: by name, how many channels there are.

        Raises:
            ContractError: no calibration data or executor in the context.
        """
        made = {name: Moments(channels) for name, channels in values.items()}
        for found in self._runs(list(values)):
            for name in values:
                made[name].add(channels_last(found[name], -1))
        return made

    def attentions(self) -> list[Attention]:
        """The program's attentions."""
        if self._attentions is None:
            self._attentions = attentions(self.program)
        return self._attentions

    def inputs_of(self, projection: Projection) -> Moments | None:
        """Second moments of what a projection of some attention multiplies; None without calibration data."""
        if not self.has_activations:
            return None
        if projection.data not in self._inputs:
            every = (part for one in self.attentions() for part in (one.query, one.key, one.value) if part is not None)
            self._inputs = self.second_moments({part.data: part.matrix.shape[1] for part, _ in every})
        return self._inputs[projection.data]

    def _runs(self, names: Sequence[str]) -> Iterator[Mapping[str, np.ndarray]]:
        if self.context.calibration is None:
            raise _missing("calibration data", "calibration=")
        empty = True
        for feeds in feeds_of(self.program, self.context.calibration):
            empty = False
            yield self._executor.run(self.program, feeds, names)
        if empty:
            raise DataError("The calibration data holds no batch.", place="calibration", remedy="Give at least one.")

    @property
    def _executor(self) -> Executor:
        if self.context.executor is None:
            raise _missing("a backend that runs the program", "an executor")
        return self.context.executor


def counted(group: Group) -> list[Slice]:
    """The slices that make, scale, shift and consume units: those whose elements count."""
    return [part for part in group.slices if part.role != "other"]


def fold(units: np.ndarray, along: np.ndarray, size: int) -> np.ndarray:
    """Sums by unit of numbers along an axis; indices of other groups are left out.

    Args:
        units: unit of each index, or -1.
        along: a number for each index.
        size: how many units there are.
    """
    own = units >= 0
    return np.bincount(units[own], weights=along[own], minlength=size)


def channels_last(x: np.ndarray, axis: int) -> np.ndarray:
    """An activation as [places, channels]."""
    return np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])


def _missing(what: str, remedy: str) -> ContractError:
    return ContractError(f"The criterion needs {what}.", place="criterion", remedy=f"Give {remedy}, or choose another criterion.")
