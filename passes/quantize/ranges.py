"""Grids of activations, from what they range over on calibration data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from netwright.passes.applying import apply_all
from netwright.passes.quantize.calibration import DEFAULT_METHOD, Method, Statistics, calibrate
from netwright.passes.quantize.choice import ActivationGrid, Static
from netwright.passes.quantize.draft import Draft
from netwright.passes.quantize.equalizing import Equalize
from netwright.passes.quantize.static import activations_of, right_operands
from netwright.passes.rewrite import Miss

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.quantize.quantize import Quantize


@dataclass(slots=True)
class Ranges:
    """Grids of activations, from statistics that are taken once.

    Attributes:
        options: of the pass.
        program: as it is.
        context: data and an executor.
        names: of the activations.
        rights: of those that are only right operands of products: their grids lie around 0.
        seen: statistics of the program as it is (False) and equalized (True), once they were taken.
    """

    options: Quantize
    program: Program
    context: Context
    names: tuple[str, ...]
    rights: frozenset[str] = frozenset()
    seen: dict[bool, Statistics] = field(default_factory=dict[bool, Statistics])

    def statistics(self, *, equalized: bool = False) -> Statistics:
        """What the activations range over, of the program as it is or with neighbouring layers equalized."""
        if equalized not in self.seen:
            self.seen[equalized] = self._observe(equalized)
        return self.seen[equalized]

    def _observe(self, equalized: bool) -> Statistics:
        if equalized:
            clone = self.program.clone()
            apply_all(clone, Equalize().rewrites(clone, self.context))
            return calibrate(clone, self.names, self.context)
        if self.options.statistics is not None:
            return Statistics.load(self.options.statistics, self.program)
        return calibrate(self.program, self.names, self.context)

    def grids(self, method: str | None = None, equalized: bool = False) -> dict[str, ActivationGrid]:
        """Grids of the activations that can have one, by a method, or the usual one."""
        stats, signed = self.statistics(equalized=equalized), self.options.activations == "s8"
        chosen = cast("Method", method or self.options.ranges or DEFAULT_METHOD)
        around = {name: signed or name in self.rights for name in self.names}
        return {
            name: stats.grid(name, method=chosen, signed=even, symmetric=even)
            for name, even in around.items()
            if stats.obstacle(name) is None
        }


def ranges_for(options: Quantize, program: Program, context: Context, draft: Draft) -> Ranges:
    """Grids of all activations that static units would need; where not all may become static, also of those at the borders of fewer."""
    static = [unit for unit, offered in draft.options.items() if any(isinstance(choice, Static) for choice in offered)] + draft.pairs
    names = activations_of(program, static)
    fewer = options.tune is not None or options.metric_drop is not None
    borders = [name for unit in static if fewer for name in activations_of(program, [unit])]
    found = Ranges(options, program, context, tuple(dict.fromkeys((*names, *borders))), right_operands(draft.pairs))
    if found.names:
        seen = found.statistics()
        found.names = tuple(name for name in found.names if name in names or name in seen.tensors)
        reasons = {name: seen.obstacle(name) for name in names}
        draft.misses.extend(Miss(reason, name) for name, reason in reasons.items() if reason is not None)
        draft.grids = found.grids()
    return found
