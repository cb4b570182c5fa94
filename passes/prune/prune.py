"""The pass `prune`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import ClassVar

from netwright.ir.errors import PlanError
from netwright.ir.fingerprint import fingerprint
from netwright.ir.program import Program
from netwright.passes.base import PlannedPass, Proposals
from netwright.passes.context import Context
from netwright.passes.numerics import Lossy, Numerics
from netwright.passes.plan import Plan
from netwright.passes.planning import PerSite
from netwright.passes.prune.options import check_options, printed
from netwright.passes.prune.planning import Scope
from netwright.passes.prune.structured import carry_out_structured, needs_structured, plan_structured, settle_structured
from netwright.passes.prune.unstructured import SPARSE_KEYS, carry_out_sparse, plan_sparse, update_weights

_DATA = frozenset({"calibration", "executor"})


@dataclass(frozen=True, kw_only=True)
class Prune(PlannedPass):
    """Take the least important channels, heads, hidden units or experts out, or make single weights zero.

    Units that must go together are found by following axes through the graph (`netwright inspect --by group` shows them), so that any
    model stays valid: weights, attributes and shapes change with them, and the result computes what the model with those units at zero
    computes. How much goes is said in one of four ways: `ratio`, `threshold`, `budget`, `plan`; with none of them, by the budget of
    the run. With calibration data, what reads the rest is fitted to make up for what went (`compensate`).

    `structured=False` makes single weights zero instead, `sparsity` of each tensor or by a `pattern` such as 2:4: files shrink once
    packed, speed stays on runtimes without sparse kernels, ONNX Runtime among them. The zeros stay through later passes and training.

    Whatever stays whole is listed with the reason.
    """

    name: ClassVar[str] = "prune"
    numerics: ClassVar[Numerics] = Lossy("metric")

    scope: Scope = "all"
    """`channels`, `heads`, `hidden` (units of recurrent layers, width of feed-forward layers), `experts`, or `all`."""
    ratio: PerSite | None = None
    """Fraction of units removed of each group: one for all, or by pattern of group or module, such as {'layer1.*': 0.5}."""
    threshold: PerSite | None = None
    """Units go whose importance is not above it: one for all, or by pattern. 0 removes exactly the units that are zero already."""
    budget: Mapping[str, float] | None = None
    """Limits by quantity (params, macs, bytes, latency_ms): up to 1 fractions of the original's, above 1 as they stand."""
    importance: str | Callable[..., object] | None = None
    """l1, l2, bn_scale, taylor, hessian, activation, reconstruction, qkv, random, or a function (in text 'module:function'); l2 where not
    given. Of single weights: magnitude, or activation (|w| times the norm of its input), which is the default with calibration data."""
    global_ranking: bool = False
    """Rank the units of all groups together, rather than take the same fraction of each."""
    round_to: int | None = None
    """Kept counts are multiples of it, of smaller groups of a power of two below; heads and experts go one by one. 8 where not given, 1
    with `threshold`."""
    max_ratio: float = 0.9
    """The largest fraction of a group that a ratio, a budget or global ranking may take."""
    compensate: bool | None = None
    """Fit what is left to calibration data; where not given, if there is any."""
    approximate: bool = False
    """Also groups whose removal is not the same as making their units zero: those that a norm averages over."""
    exclude: str | Sequence[str] = ()
    """Patterns (`*`, `?`) of groups, weights or modules whose units, or weights, stay."""
    structured: bool = True
    """Remove whole units; with False, single weights become zero."""
    sparsity: PerSite | None = None
    """`structured=False`: the fraction of each weight's elements that become zero: one for all, or by pattern."""
    pattern: str | None = None
    """`structured=False`: N:M, such as '2:4': of M weights in a row along a layer's inputs, N stay."""

    def __post_init__(self) -> None:
        """Refuse options that do not go together.

        Raises:
            PipelineError: they do not.
        """
        object.__setattr__(self, "exclude", (self.exclude,) if isinstance(self.exclude, str) else tuple(self.exclude))
        check_options(self, {option.name: option.default for option in fields(self) if option.default is not MISSING})

    def needs(self) -> frozenset[str]:
        """What the importance and the budget read; a budget, where nothing says how much."""
        if self.structured:
            return needs_structured(self) | self.needs_with_plan()
        return self.needs_with_plan() | (_DATA if self.importance == "activation" else frozenset[str]())

    def needs_with_plan(self) -> frozenset[str]:
        """Calibration data, where compensation was asked for."""
        return _DATA if self.compensate else frozenset()

    def make_plan(self, program: Program, context: Context) -> Plan:
        """Score the units and decide which go."""
        return plan_structured(self, program, context) if self.structured else plan_sparse(self, program, context)

    def carry_out(self, program: Program, plan: Plan) -> Proposals:
        """One rewrite for each group, or for each weight.

        Raises:
            PlanError: the plan is another pass's or program's, or decides what cannot be done.
        """
        plan.check_fits(self.name, fingerprint(program))
        sparse = _is_sparse(plan)
        yield from carry_out_sparse(program, plan) if sparse else carry_out_structured(program, plan, approximate=self.approximate)

    def settles(self, context: Context) -> bool:
        """True where weights are fitted afterwards."""
        return context.calibration is not None and context.executor is not None and self.compensate is not False

    def settle(self, before: Program, program: Program, plan: Plan, context: Context) -> Proposals:
        """Fit what is left."""
        yield from (update_weights if _is_sparse(plan) else settle_structured)(before, program, plan, context)

    def __str__(self) -> str:
        """Pipeline text; a function stands as `module:function`."""
        if self.importance is None or isinstance(self.importance, str):
            return PlannedPass.__str__(self)
        return PlannedPass.__str__(self).replace(f"importance={self.importance!r}", f"importance={printed(self.importance)!r}")


def _is_sparse(plan: Plan) -> bool:
    """True of a plan of single weights.

    Raises:
        PlanError: it decides on both.
    """
    sparse = [site for site, decision in plan.decisions.items() if SPARSE_KEYS & set(decision)]
    if sparse and len(sparse) < len(plan.decisions):
        raise PlanError(
            "The plan decides on whole units and on single weights.", place=sparse[0], remedy="Write two plans, and prune twice."
        )
    return bool(sparse)
