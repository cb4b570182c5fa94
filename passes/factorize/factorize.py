"""The pass `factorize`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import ClassVar

from netwright.ir.errors import ContractError
from netwright.ir.fingerprint import fingerprint
from netwright.ir.program import Program
from netwright.passes.base import PlannedPass, Proposals
from netwright.passes.context import Context
from netwright.passes.factorize.carrying import carry_out, in_order
from netwright.passes.factorize.evidence import Study, study
from netwright.passes.factorize.lookup import sites_by_key
from netwright.passes.factorize.methods import METHODS, Weighing
from netwright.passes.factorize.options import check_options
from netwright.passes.factorize.planning.decisions import Chosen, read
from netwright.passes.factorize.planning.planning import make_plan
from netwright.passes.factorize.recalibrate import recalibrate
from netwright.passes.factorize.sites import FactorSite
from netwright.passes.numerics import Lossy, Numerics
from netwright.passes.plan import Plan
from netwright.passes.planning import PerSite
from netwright.passes.rewrite import Rewrite


@dataclass(frozen=True, kw_only=True)
class Factorize(PlannedPass):
    """Replace operators that multiply with a weight by several thin ones, so that the model is smaller, and faster to run and to train.

    How much goes is said in one of these ways: `rank`, `ratio`, `energy`, `budget`, `ranks='timed'`, `plan`; with none of them, by the
    budget of the run. With calibration data, factors are fitted to what layers see, and biases make up for the mean.

    A site whose factors would be no smaller, or more work, stays whole and is listed with the numbers. `merge` multiplies factors back.

    `expand=True` does the reverse: a weight becomes a product of larger factors, which trains differently and is merged afterwards.
    """

    name: ClassVar[str] = "factorize"
    numerics: ClassVar[Numerics] = Lossy("metric")

    method: str | None = None
    """svd, whitened, asvd, fisher (two matrices, by what errors count as); tucker2, spatial, cp (convolutions); tt, kronecker (large
    products); auto (the best structure of each site). Where not given, whitened with calibration data, else svd."""
    rank: PerSite | None = None
    """Inner size: one for all, or by pattern of weight or module, such as {'encoder.*': 64}; sites that no pattern names stay whole."""
    ratio: PerSite | None = None
    """Fraction of the parameters that goes: of each site, or with allocation='global' of all together."""
    energy: PerSite | None = None
    """The least share of each output's energy that is kept, on the calibration data where there is some."""
    budget: Mapping[str, float] | None = None
    """Limits by quantity (params, macs, bytes, latency_ms): up to 1 fractions of the original's, above 1 as they stand."""
    ranks: str | None = None
    """'timed': the share of the parameters and the number of factors are those of the candidate that learns most in equal time."""
    trial_seconds: float = 10.0
    """`ranks='timed'`: how long each candidate is trained."""
    allocation: str | None = None
    """'global': sites give where the outputs feel it least; 'uniform': all give the same fraction. Where not given, global for a budget,
    uniform for a ratio."""
    sensitivity: bool = True
    """With global allocation and calibration data: measure how much of each site's error arrives at the outputs."""
    faster: bool | None = None
    """Leave sites whole whose factors, with half of the parameters, take no less time than the weight, each timed alone; where not given,
    for a budget of latency_ms."""
    round_to: int = 8
    """Ranks are multiples of it, where they are that large."""
    joint: bool | None = None
    """Weights that see the same data (q, k and v; gate and up) share their right factor: all, none, or where not given those that gain."""
    recurrent: bool = False
    """Also the weights of recurrent states, through a loop over steps that runtimes have no fast kernel for."""
    recalibrate: bool | None = None
    """Solve last factors anew on what comes through the factorized program; where not given, if there is calibration data."""
    correct_bias: bool = True
    """Let biases take over the mean of what is lost; needs calibration data."""
    init: str = "weights"
    """'spectral', for models to be trained from scratch: factors are scaled so that the product is as large as the weight."""
    factors: int = 2
    """How many matrices a product becomes: 2 or 3."""
    expand: bool = False
    """Write weights as products of larger factors, exactly, for training."""
    inner: float = 1.0
    """`expand=True`: inner sizes, as multiples of the full rank."""
    exclude: str | Sequence[str] = ()
    """Patterns (`*`, `?`) of weights or modules that stay whole."""

    def __post_init__(self) -> None:
        """Refuse options that do not go together.

        Raises:
            PipelineError: they do not.
        """
        object.__setattr__(self, "exclude", (self.exclude,) if isinstance(self.exclude, str) else tuple(self.exclude))
        check_options(self, {option.name: option.default for option in fields(self) if option.default is not MISSING})

    def needs(self) -> frozenset[str]:
        """What the method and the budget read; a budget, where nothing says how much."""
        needed = set(self.needs_with_plan())
        if self.method is not None:
            needed |= METHODS[self.method].needs
        if self.faster or (self.budget is not None and "latency_ms" in self.budget):
            needed.add("timer")
        if self.ranks == "timed":
            needed |= {"training", "trainer"}
        if not self.expand and all(value is None for value in (self.rank, self.ratio, self.energy, self.budget, self.ranks, self.plan)):
            needed.add("budget")
        return frozenset(needed)

    def needs_with_plan(self) -> frozenset[str]:
        """Calibration data, where factors are to be solved anew."""
        return frozenset({"calibration", "executor"}) if self.recalibrate else frozenset()

    def make_plan(self, program: Program, context: Context) -> Plan:
        """Look at all sites and decide how each is written."""
        return make_plan(self, program, context)

    def carry_out(self, program: Program, plan: Plan) -> Proposals:
        """One rewrite for each site, by the weights alone.

        Raises:
            PlanError: the plan is another pass's or program's, or decides what cannot be done.
        """
        yield from carry_out(self._chosen(program, plan), None)

    def carry_out_and_settle(self, program: Program, plan: Plan, context: Context) -> Proposals:
        """One rewrite for each site, fitted to data as the plan's methods want it; then last factors are solved anew.

        Raises:
            PlanError: as `carry_out`.
            ContractError: a method of the plan needs data that is not there.
        """
        chosen = self._chosen(program, plan)
        studied = plan.evidence if isinstance(plan.evidence, Study) else self._study(program, chosen, context)
        again = self.settles(context) and not self.expand and self.init == "weights"
        before = program.clone() if again and chosen else None
        outputs: list[str] = []
        for one, proposal in zip(in_order(chosen), carry_out(chosen, studied), strict=True):
            made = [reader.node.outputs[0].name or "" for reader in one.site.readers if reader.kind in ("linear", "conv")]
            applied = yield proposal
            if isinstance(proposal, Rewrite) and applied is not None:
                outputs.extend(made)
        if before is not None and outputs:
            yield from recalibrate(before, program, outputs, context)

    def settles(self, context: Context) -> bool:
        """True where factors are solved anew."""
        return context.calibration is not None and context.executor is not None and self.recalibrate is not False

    def _chosen(self, program: Program, plan: Plan) -> list[Chosen]:
        plan.check_fits(self.name, fingerprint(program))
        return read(plan, sites_by_key(program))

    def _study(self, program: Program, chosen: Sequence[Chosen], context: Context) -> Study:
        """What a plan from outside needs to know of its sites.

        Raises:
            ContractError: a method of the plan needs data that is not there.
        """
        by_weighing: dict[Weighing, list[FactorSite]] = {}
        for one in chosen:
            method = METHODS[one.method]
            missing = sorted(need for need in method.needs if not context.has(need))
            if missing:
                raise ContractError(
                    f"The plan's factors are by {one.method}, which needs {', '.join(missing)}.",
                    place=self.name,
                    remedy=f"Give {missing[0]}=… (on the command line, --{missing[0]}), or write svd as the method in the plan.",
                )
            by_weighing.setdefault(method.weighing_in(context), []).append(one.site)
        found = Study({})
        for weighing, sites in by_weighing.items():
            found.sites.update(study(program, sites, weighing, context, centre=self.correct_bias).sites)
        return found
