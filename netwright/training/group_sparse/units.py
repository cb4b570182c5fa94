"""Units of coupling groups, numbered through, and where their numbers lie in the tensors that are trained.

A unit x_g is all that makes it: its slices of roles `out`, `scale` and `shift` over all weights (rows of a convolution with their
biases and norm weights; of an LSTM the four gates' rows of W and R and their biases). All of them zero, the unit is zero, and can be
removed. Nothing here loops over units: along each axis there is one array of indices.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from netwright.ir.coupling import Group


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Units along an axis of a parameter.

    Attributes:
        axis: of the parameter.
        index: int64 [n], indices along it.
        units: int64 [n], the unit that each belongs to.
    """

    axis: int
    index: torch.Tensor
    units: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class UnitRange:
    """The units of one group.

    Attributes:
        group: the coupling group.
        grain: kept counts are multiples of it.
        first: the number of its first unit.
        numbers: int64, which units of the group these are, in order; those that cannot go are left out.
    """

    group: Group
    grain: int
    first: int
    numbers: np.ndarray

    @property
    def count(self) -> int:
        """How many units can go."""
        return len(self.numbers)

    @property
    def all(self) -> slice:
        """Where they stand among all units."""
        return slice(self.first, self.first + self.count)


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """All units that may become zero.

    Attributes:
        ranges: by group.
        places: by parameter, where units lie in it; a number may belong to units of several groups.
        sizes: float64 [count], how many numbers make each unit.
    """

    ranges: tuple[UnitRange, ...]
    places: Mapping[torch.Tensor, tuple[Place, ...]]
    sizes: torch.Tensor

    @property
    def count(self) -> int:
        """How many units there are."""
        return len(self.sizes)

    def sums(self, of: Callable[[torch.Tensor], torch.Tensor | None]) -> torch.Tensor:
        """Sums over each unit's numbers, float64 [count].

        Args:
            of: the summands of a parameter, of its shape; None for none.
        """
        found = torch.zeros_like(self.sizes)
        for parameter, places in self.places.items():
            summands = of(parameter)
            if summands is None:
                continue
            for place in places:
                others = [axis for axis in range(summands.ndim) if axis != place.axis]
                along = summands.sum(others, dtype=torch.promote_types(summands.dtype, torch.float32)) if others else summands
                found.index_add_(0, place.units, along[place.index].double())
        return found

    def spread(self, parameter: torch.Tensor, values: torch.Tensor, neutral: float) -> list[torch.Tensor]:
        """What units are given, laid along the axes of a parameter: one array for each place, which broadcasts against it.

        Args:
            parameter: one of `places`.
            values: [count].
            neutral: for indices that belong to no unit.
        """
        laid: list[torch.Tensor] = []
        for place in self.places[parameter]:
            size = parameter.shape[place.axis]
            along = torch.full((size,), neutral, dtype=values.dtype, device=values.device)
            along[place.index] = values[place.units]
            laid.append(along.view([size if axis == place.axis else 1 for axis in range(parameter.ndim)]))
        return laid

    def by_group(self, flags: torch.Tensor) -> dict[str, tuple[int, ...]]:
        """The units that a mask [count] marks, by group name, as the coupling group numbers them."""
        marked = flags.cpu().numpy()
        return {one.group.name: tuple(int(unit) for unit in one.numbers[marked[one.all]]) for one in self.ranges}


def index_units(groups: Iterable[tuple[Group, int]], parameters: Mapping[str, torch.Tensor]) -> Units:
    """Number the units of groups.

    Args:
        groups: each with the number that kept counts are multiples of; all their producing slices are among the parameters.
        parameters: by the names of weights.
    """
    ranges: list[UnitRange] = []
    found: dict[torch.Tensor, list[Place]] = {}
    first = 0
    for group, grain in groups:
        numbers = np.flatnonzero(group.removable)
        number_of = np.full(group.size, -1, dtype=np.int64)
        number_of[numbers] = np.arange(first, first + len(numbers))
        for made in group.producing:
            parameter = parameters[made.weight]
            units = np.where(made.units >= 0, number_of[made.units], -1)
            index = np.flatnonzero(units >= 0)
            place = Place(made.axis, _tensor(index, parameter), _tensor(units[index], parameter))
            found.setdefault(parameter, []).append(place)
        ranges.append(UnitRange(group, grain, first, numbers))
        first += len(numbers)
    places = {parameter: tuple(listed) for parameter, listed in found.items()}
    device = next(iter(places)).device if places else torch.device("cpu")
    units = Units(tuple(ranges), places, torch.zeros(first, dtype=torch.float64, device=device))
    return Units(units.ranges, places, units.sums(torch.ones_like))


def trainable(groups: Sequence[Group], parameters: Collection[str]) -> dict[str, str]:
    """Why units of groups cannot be made zero by training, by group name; those that can are left out.

    Args:
        groups: to look at.
        parameters: the names of the weights that are trained.
    """
    why: dict[str, str] = {}
    for group in groups:
        fixed = [made.weight for made in group.producing if made.weight not in parameters]
        if not group.producing:
            why[group.name] = "no weight makes its units"
        elif fixed:
            why[group.name] = f"%{fixed[0]}, which makes its units, is not trained"
    return why


def _tensor(array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.int64)).to(like.device)
