"""A plan in the making."""

from __future__ import annotations

from dataclasses import dataclass, field

from netwright.passes.quantize.choice import ActivationGrid, Choice
from netwright.passes.quantize.units import Unit
from netwright.passes.rewrite import Miss


@dataclass(slots=True)
class Draft:
    """A plan in the making.

    Attributes:
        options: by unit, what it may become, the usual first; those that are not named stay float.
        misses: of all others.
        notes: what the report says of the plan as a whole.
        grids: of activations.
        choices: the choice that was made for each unit.
        pairs: products of two activations that become static, whatever others become.
    """

    options: dict[Unit, tuple[Choice, ...]] = field(default_factory=dict["Unit", tuple[Choice, ...]])
    misses: list[Miss] = field(default_factory=list[Miss])
    notes: list[str] = field(default_factory=list[str])
    grids: dict[str, ActivationGrid] = field(default_factory=dict[str, ActivationGrid])
    choices: dict[Unit, Choice] = field(default_factory=dict["Unit", Choice])
    pairs: list[Unit] = field(default_factory=list["Unit"])

    def miss(self, unit: Unit, reason: str) -> None:
        """Leave a unit float."""
        self.misses.extend(Miss(reason, site.name) for site in unit.sites)
