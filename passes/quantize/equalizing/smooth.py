"""The pass `smooth`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from netwright.ir.errors import PipelineError
from netwright.ir.fingerprint import fingerprint
from netwright.passes.base import PlannedPass, Proposals
from netwright.passes.numerics import Close, Numerics
from netwright.passes.plan import Plan
from netwright.passes.quantize.equalizing.finding import Scales, Search, find_scales
from netwright.passes.quantize.equalizing.smoothing import read_smoothing, smooth_rewrites
from netwright.passes.quantize.planning import probe_feeds

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context


@dataclass(frozen=True, kw_only=True)
class Smooth(PlannedPass):
    """Divide the channels of activations so that one scale of 8 bits fits all of them; the weights behind are multiplied.

    Leaves the outputs of the float program as they are, to the bit up to roundings of the layer before. What `quantize` makes of it is more
    accurate: by how much is measured for each activation on rows of sample data, with fake quantization. Factors go into the
    normalization or product before where nothing else reads the activation, else a multiplication is inserted.
    """

    name: ClassVar[str] = "smooth"
    numerics: ClassVar[Numerics] = Close(rtol=1e-4, atol=1e-5)

    alpha: float | None = None
    """SmoothQuant's exponent for all activations, 0 to 1; by default the best of several forms is searched for each."""
    scheme: str = "dynamic"
    """What the activations are going to be: `dynamic` (a scale for each batch) or `static` (one for all data)."""
    bits: int = 8
    """That the weights are going to have."""
    exclude: str | Sequence[str] = ()
    """Patterns (`*`, `?`) of activations, or of products reading them, that stay."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            PipelineError: one is.
        """
        object.__setattr__(self, "exclude", (self.exclude,) if isinstance(self.exclude, str) else tuple(self.exclude))
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise PipelineError(f"'alpha' is a number from 0 to 1, not {self.alpha!r}.", place="smooth")
        if self.scheme not in ("dynamic", "static"):
            raise PipelineError(f"There is no scheme {self.scheme!r}.", place="smooth", remedy="Schemes: 'dynamic', 'static'.")
        if not 2 <= self.bits <= 8:
            raise PipelineError(f"Weights have 2 to 8 bits, not {self.bits!r}.", place="smooth")

    def make_plan(self, program: Program, context: Context) -> Plan:
        """Run the program on a few batches, and search a scale for each activation."""
        feeds = probe_feeds(program, context)
        if context.executor is None or not feeds:
            note = "nothing was smoothed: there is no data to look at activations with"
            return Plan(pass_name=self.name, fingerprint=fingerprint(program), decisions={}, note=note)
        how = Search(alpha=self.alpha, per_batch=self.scheme == "dynamic", bits=self.bits, exclude=self.exclude)
        found = find_scales(program, context.executor, feeds, how, context.seed)
        decisions = {name: smoothing.decision() for name, smoothing in found.smoothings.items()}
        return Plan(
            pass_name=self.name, fingerprint=fingerprint(program), decisions=decisions, misses=tuple(found.misses), note=_note(found)
        )

    def carry_out(self, program: Program, plan: Plan) -> Proposals:
        """One rewrite for each activation."""
        plan.check_fits(self.name, fingerprint(program))
        yield from smooth_rewrites(program, {name: read_smoothing(name, decision) for name, decision in plan.decisions.items()})


def _note(found: Scales) -> str:
    if not found.numbers:
        return ""
    before = float(np.mean([one.before for one in found.numbers.values()]))
    after = float(np.mean([one.after for one in found.numbers.values()]))
    return f"{len(found.numbers)} activations smoothed: mean error of their products as integers {before:.2%} → {after:.2%}"
