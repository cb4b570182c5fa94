"""The pass manager: passes propose, it disposes.

It checks contracts before anything runs, works on a clone, applies each rewrite in a transaction before it asks for the
next, numbers and records it, verifies the graph after each pass, and can stop after, or leave out, any action.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from netwright.ir.editor import Editor
from netwright.ir.errors import NetwrightError, PassCrash
from netwright.ir.ledger import Action, Miss
from netwright.ir.pause import collector_paused
from netwright.ir.program import Program
from netwright.ir.verify import verify
from netwright.passes.base import Pass, PlannedPass, Proposals
from netwright.passes.context import Context
from netwright.passes.contracts import check_contracts
from netwright.passes.curves import Curve
from netwright.passes.instruments.base import Instrument
from netwright.passes.pipeline import Pipeline
from netwright.passes.plan import Plan
from netwright.passes.rewrite import Applied, Rewrite

Accept = Callable[[Action], bool]
"""Asked before each action; `False` leaves it out (bisecting)."""


@dataclass(slots=True)
class PassRow:
    """What one pass, or one rule of it, did.

    Attributes:
        name: pipeline text of the pass, or the rule's name.
        seconds: wall time; of a rule, that of applying its rewrites.
        actions: rewrites applied.
        misses: sites looked at and left alone.
        max_abs_error: largest absolute difference of any output from the oracle's, where checked.
        rel_error: `||new - old|| / ||old||` of the worst output, where checked.
        children: one row per rule.
        note: what the pass wants to be known, such as a scheme chosen for want of data.
        curves: trade-offs that the pass looked at while deciding.
    """

    name: str
    seconds: float = 0.0
    actions: int = 0
    misses: list[Miss] = field(default_factory=list[Miss])
    max_abs_error: float | None = None
    rel_error: float | None = None
    children: list[PassRow] = field(default_factory=list["PassRow"])
    note: str = ""
    curves: tuple[Curve, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The row as JSON."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "actions": self.actions,
            "misses": [{"site": miss.site, "reason": miss.reason, "rule": miss.rule} for miss in self.misses],
            "max_abs_error": self.max_abs_error,
            "rel_error": self.rel_error,
            "note": self.note,
            "curves": [curve.to_dict() for curve in self.curves],
            "children": [child.to_dict() for child in self.children],
        }


@dataclass(slots=True)
class Outcome:
    """What a run of a pipeline gives back.

    Attributes:
        program: the rewritten program.
        rows: one row per pipeline element.
        plans: the plans carried out, by position in the pipeline.
        stopped: True when `until` ended the run.
    """

    program: Program
    rows: list[PassRow]
    plans: dict[int, Plan]
    stopped: bool = False


class _Stop(Exception):
    """Ends the run after the action named by `until`."""


def run(
    program: Program,
    pipeline: Pipeline | Sequence[Pass],
    context: Context,
    *,
    instruments: Iterable[Instrument] = (),
    until: str | None = None,
    accept: Accept | None = None,
    verify_each: bool = False,
    copy: bool = True,
) -> Outcome:
    """Run a pipeline.

    Args:
        program: left as it is, unless `copy` is false.
        pipeline: the passes.
        context: what they may use.
        instruments: are told of every pass and action.
        until: number of the last action to apply, such as `0:simplify#12`; the run ends there.
        accept: may decline actions.
        verify_each: verify after every action, not only after every pass (slow: for pass authors).
        copy: work on a clone. Without, the caller's program is changed, and half changed after an error.

    Raises:
        ContractError: an impossible order, or missing data; before anything runs.
        PassCrash: a pass raised an unexpected error.
        NetwrightError: whatever a pass refuses.
    """
    passes = tuple(pipeline)
    check_contracts(passes, program, context)
    tools = tuple(instruments)
    work = program.clone() if copy else program
    outcome = Outcome(work, [], {})
    for tool in tools:
        tool.begin(work, passes)
    with collector_paused():
        for index, current in enumerate(passes):
            row = PassRow(str(current))
            outcome.rows.append(row)
            one = _OnePass(work, index, current, context, row, tools, until, accept, verify_each)
            for tool in tools:
                tool.before_pass(work, index, current)
            started = time.perf_counter()
            try:
                plan = one.run()
            except _Stop:
                outcome.stopped = True
                plan = None
            except NetwrightError:
                raise
            except Exception as error:
                raise PassCrash(
                    f"The pass {current.name} failed: {type(error).__name__}: {error}.",
                    pass_index=index,
                    place=one.site or current.name,
                    remedy="This is a bug in the pass; the program given is as it was.",
                ) from error
            verify(work)
            row.seconds = time.perf_counter() - started
            if plan is not None:
                outcome.plans[index] = plan
            work.properties = (work.properties - current.breaks) | current.provides
            for tool in tools:
                tool.after_pass(work, index, current, row)
            if outcome.stopped:
                break
    if until is not None and not outcome.stopped:
        made = ", ".join(f"{row.name} made {row.actions}" for row in outcome.rows)
        raise NetwrightError(
            f"No action {until} happened: {made}.", place=until, remedy="Actions are numbered PASS_INDEX:NAME#COUNT, such as 0:simplify#1."
        )
    for tool in tools:
        tool.end(work)
    return outcome


@dataclass(slots=True)
class _OnePass:
    """The run of one pass: applies what it proposes and keeps the books."""

    program: Program
    index: int
    current: Pass
    context: Context
    row: PassRow
    tools: tuple[Instrument, ...]
    until: str | None
    accept: Accept | None
    verify_each: bool
    site: str = ""
    children: dict[str, PassRow] = field(default_factory=dict[str, PassRow])
    ordinals: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    offered: int = 0

    def run(self) -> Plan | None:
        plan: Plan | None = None
        if isinstance(self.current, PlannedPass):
            plan = self.current.chosen_plan(self.program, self.context)
            self.row.note, self.row.curves = plan.note, plan.curves
            for miss in plan.misses:
                self._miss(miss)
            proposals = self.current.carry_out_and_settle(self.program, plan, self.context)
        else:
            proposals = self.current.rewrites(self.program, self.context)
        try:
            self._drain(proposals)
        finally:
            self.row.children = list(self.children.values())
        return None if plan is None else replace(plan, evidence=None)  # it may be large, and has served

    def _drain(self, proposals: Proposals) -> None:
        answer: Applied | None = None
        while True:
            try:
                proposal = proposals.send(answer)
            except StopIteration:
                return
            answer = None
            if isinstance(proposal, Miss):
                self._miss(proposal)
            else:
                answer = self._apply(proposal)

    def _miss(self, miss: Miss) -> None:
        named = miss if miss.rule else Miss(miss.reason, miss.site, self.current.name)
        self.row.misses.append(named)
        self.program.ledger.misses.append(named)

    def _apply(self, rewrite: Rewrite) -> Applied | None:
        self.site = rewrite.site
        rule = rewrite.rule or self.current.name
        ordinal = self.ordinals.get((rule, rewrite.site), 0)
        number = f"{self.index}:{self.current.name}#{self.offered + 1}"
        action = Action(number, self.index, rule, rewrite.site, ordinal, rewrite.why)
        self.offered += 1
        self.ordinals[rule, rewrite.site] = ordinal + 1
        if self.accept is not None and self.current.skippable and not self.accept(action):
            return None
        started = time.perf_counter()
        with Editor(self.program, by=number, at=rewrite.anchor, preserves=self.current.preserves) as editor:
            rewrite.change(editor)
        if editor.maps:
            action = Action(number, self.index, rule, rewrite.site, ordinal, rewrite.why, dict(editor.maps))
        if self.verify_each:
            verify(self.program)
        self._count(rule, time.perf_counter() - started)
        self.program.ledger.actions.append(action)
        for tool in self.tools:
            tool.after_action(self.program, action)
        if action.number == self.until:
            raise _Stop
        return Applied(action, tuple(editor.touched))

    def _count(self, rule: str, seconds: float) -> None:
        self.row.actions += 1
        child = self.children.get(rule)
        if child is None:
            child = self.children[rule] = PassRow(rule)
        child.actions += 1
        child.seconds += seconds
