"""Small passes and programs for testing the manager."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir

from netwright.ir import Program
from netwright.passes import Close, Context, Exact, Miss, Numerics, Plan, PlannedPass, Rewrite, RewritePass
from netwright.passes.base import Proposals
from netwright.passes.rewrite import site_of

NEGATIONS = """<ir_version: 10, opset_import: ["" : 20]>
negations (float[N, 4] x) => (float[N, 4] y)
{
    a = Neg(x)
    b = Neg(a)
    c = Neg(b)
    d = Neg(c)
    e = Neg(d)
    y = Abs(e)
}"""


def program_of(text: str = NEGATIONS) -> Program:
    return Program(onnx_ir.from_onnx_text(text))


def ops(program: Program) -> list[str]:
    return [node.op_type for node in program.nodes()]


@dataclass(frozen=True, kw_only=True)
class DropNeg(RewritePass):
    """Replace each Neg by a Relu (a change that shows in the values)."""

    name: ClassVar[str] = "drop_neg"
    numerics: ClassVar[Numerics] = Close(rtol=10, atol=10)
    limit: int = 100
    """How many at the most."""

    def rewrites(self, program: Program, context: Context) -> Proposals:
        done = 0
        for node in list(program.nodes("Neg")):
            source = node.inputs[0]
            if source is None:
                continue
            if done >= self.limit:
                yield Miss(f"limit {self.limit} reached", site_of(node))
                continue
            applied = yield Rewrite.build(node, lambda editor, source=source: editor.op("Relu", [source]), why="neg")
            done += applied is not None


@dataclass(frozen=True, kw_only=True)
class Crash(RewritePass):
    """Fails after its first rewrite."""

    name: ClassVar[str] = "crash"

    def rewrites(self, program: Program, context: Context) -> Proposals:
        node = next(program.nodes("Abs"))
        source = node.inputs[0]
        assert source is not None
        yield Rewrite.build(node, lambda editor: editor.op("Sqrt", [source]), why="crash")
        raise ZeroDivisionError("one by nought")


@dataclass(frozen=True, kw_only=True)
class Lie(RewritePass):
    """Claims to be exact and is not."""

    name: ClassVar[str] = "lie"
    numerics: ClassVar[Numerics] = Exact()

    def rewrites(self, program: Program, context: Context) -> Proposals:
        node = next(program.nodes("Abs"))
        source = node.inputs[0]
        assert source is not None
        yield Rewrite.build(node, lambda editor: editor.op("Exp", [source]), why="lie")


@dataclass(frozen=True, kw_only=True)
class NeedsData(RewritePass):
    """Needs calibration data and a trainable program, and spoils that."""

    name: ClassVar[str] = "needs_data"
    breaks: ClassVar[frozenset[str]] = frozenset({"Trainable"})
    requires: ClassVar[frozenset[str]] = frozenset({"Trainable"})

    def needs(self) -> frozenset[str]:
        return frozenset({"calibration"})

    def rewrites(self, program: Program, context: Context) -> Proposals:
        yield from ()


@dataclass(frozen=True, kw_only=True)
class Planned(PlannedPass):
    """Turns the Neg nodes of its plan into Relu."""

    name: ClassVar[str] = "planned"
    numerics: ClassVar[Numerics] = Close(rtol=10, atol=10)

    def make_plan(self, program: Program, context: Context) -> Plan:
        sites = [site_of(node) for node in program.nodes("Neg")]
        return Plan(
            pass_name=self.name,
            fingerprint="test",
            decisions={site: {"into": "Relu"} for site in sites[:2]},
            misses=tuple(Miss("only two are wanted", site) for site in sites[2:]),
        )

    def carry_out(self, program: Program, plan: Plan) -> Proposals:
        for site, decision in plan.decisions.items():
            node = program.value(site).producer()
            assert node is not None
            source = node.inputs[0]
            into = str(decision["into"])
            yield Rewrite.build(node, lambda editor, into=into, source=source: editor.op(into, [source]), why="planned")


@dataclass(frozen=True, kw_only=True)
class Settled(Planned):
    """As `Planned`; where there is calibration data, as many Abs follow as Neg went."""

    name: ClassVar[str] = "settled"

    def needs(self) -> frozenset[str]:
        return frozenset({"metric"})

    def settles(self, context: Context) -> bool:
        return context.calibration is not None

    def settle(self, before: Program, program: Program, plan: Plan, context: Context) -> Proposals:
        gone = ops(before).count("Neg") - ops(program).count("Neg")
        yield Miss(f"{gone} of {len(plan.decisions)} Neg are gone", "y")
        for _ in range(gone):
            node = next(program.nodes("Abs"))
            yield Rewrite.build(node, lambda editor, node=node: editor.op("Abs", [editor.op("Abs", list(node.inputs))]), why="settled")
