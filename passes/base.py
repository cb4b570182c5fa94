"""The pass interface.

A pass is a frozen dataclass of options. It changes nothing itself: `rewrites` yields proposals one at a time, lazily,
and is told what became of each (`applied = yield Rewrite(...)`), so that it always sees the current graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import MISSING, dataclass, fields
from typing import ClassVar

from netwright.ir.program import Program
from netwright.passes.context import Context
from netwright.passes.numerics import Exact, Numerics
from netwright.passes.plan import Plan
from netwright.passes.rewrite import Applied, Miss, Rewrite

Proposals = Generator[Rewrite | Miss, Applied | None, None]


@dataclass(frozen=True, kw_only=True)
class Pass(ABC):
    """Base of all passes; the first line of a pass's docstring is its help.

    Attributes:
        name: in pipelines; snake_case, a verb.
        numerics: what is promised of the values.
        requires: properties that the program must have, such as `"StaticShapes"`.
        breaks: properties that it no longer has afterwards.
        provides: properties that it has afterwards.
        preserves: analyses that stay valid over every action.
        skippable: whether the bisector may leave actions out.
        fixpoint: whether a second run changes nothing.
    """

    name: ClassVar[str]
    numerics: ClassVar[Numerics] = Exact()
    requires: ClassVar[frozenset[str]] = frozenset()
    breaks: ClassVar[frozenset[str]] = frozenset()
    provides: ClassVar[frozenset[str]] = frozenset()
    preserves: ClassVar[frozenset[Callable[[Program], object]]] = frozenset()
    skippable: ClassVar[bool] = True
    fixpoint: ClassVar[bool] = False

    def needs(self) -> frozenset[str]:
        """What must be in the context for these options: `calibration`, `training`, `metric`, `target` …."""
        return frozenset()

    def check(self) -> None:  # noqa: B027
        """Check, before any pass of a pipeline runs, that nothing is missing which has no default.

        Raises:
            NetwrightError: something is.
        """

    @abstractmethod
    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Yield rewrites and misses, lazily."""

    def __str__(self) -> str:
        """Pipeline text: the name, with the options that differ from their defaults."""
        options = [
            f"{option.name}={getattr(self, option.name)!r}"
            for option in fields(self)
            if option.default is MISSING or getattr(self, option.name) != option.default
        ]
        return f"{self.name}({', '.join(options)})" if options else self.name


@dataclass(frozen=True, kw_only=True)
class RewritePass(Pass):
    """A pass that needs no plan: what it does follows from the graph alone."""


@dataclass(frozen=True, kw_only=True)
class PlannedPass(Pass):
    """A compressing pass: `plan` decides (and may think, and read data), `carry_out` is deterministic and needs no data."""

    plan: str | None = None
    """Path of a plan (JSON) to carry out instead of making one."""

    @abstractmethod
    def make_plan(self, program: Program, context: Context) -> Plan:
        """Decide which sites change, and how."""

    @abstractmethod
    def carry_out(self, program: Program, plan: Plan) -> Proposals:
        """Yield the rewrites of a plan."""

    def needs_with_plan(self) -> frozenset[str]:
        """What must be in the context where the plan is given: what `settle` reads, and no longer what deciding takes."""
        return frozenset()

    def settles(self, context: Context) -> bool:
        """True where `settle` has something to do; only then is a clone made of the program as it is before the plan."""
        del context
        return False

    def settle(self, before: Program, program: Program, plan: Plan, context: Context) -> Proposals:
        """Yield rewrites that need data, after the plan was carried out: weights that are fitted to what is left, say.

        Args:
            before: the program as it was before the plan; it stays so.
            program: as it is now.
            plan: what was carried out. Rewrites of it may have been declined, so that `program` may hold more than it says.
            context: what may be used.
        """
        del before, program, plan, context
        yield from ()

    def chosen_plan(self, program: Program, context: Context) -> Plan:
        """The plan given as an option, else the one in the context for this pass, else one made now."""
        if self.plan is not None:
            return Plan.load(self.plan)
        given = context.plans.get(self.name)
        return given if given is not None else self.make_plan(program, context)

    def carry_out_and_settle(self, program: Program, plan: Plan, context: Context) -> Proposals:
        """Carry a plan out, then settle."""
        before = program.clone() if self.settles(context) else None
        yield from self.carry_out(program, plan)
        if before is not None:
            yield from self.settle(before, program, plan, context)

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Make the plan, report its misses, carry it out, settle."""
        plan = self.chosen_plan(program, context)
        yield from plan.misses
        yield from self.carry_out_and_settle(program, plan, context)
