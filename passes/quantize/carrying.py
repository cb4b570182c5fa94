"""Carrying a plan out: float rewrites first, then integers unit by unit, then what makes up for the error, then folding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from netwright.passes.applying import apply_all
from netwright.passes.base import Proposals
from netwright.passes.context import Context
from netwright.passes.quantize.activations import Activations
from netwright.passes.quantize.blockwise import quantize_blocks
from netwright.passes.quantize.choice import BlockWise, Choice, Dynamic, Static
from netwright.passes.quantize.correcting import Compensator, correct_biases
from netwright.passes.quantize.dynamic import quantize_dynamic
from netwright.passes.quantize.equalizing import Equalize, smooth_rewrites
from netwright.passes.quantize.folding import Fold
from netwright.passes.quantize.reading import Decided, read
from netwright.passes.quantize.recurrent.gru import quantize_gru
from netwright.passes.quantize.recurrent.lstm import quantize_lstm
from netwright.passes.quantize.rounding import Rounder, rounder_for
from netwright.passes.quantize.static import quantize_static
from netwright.passes.quantize.units import Unit
from netwright.passes.rewrite import Miss, Rewrite

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.plan import Plan


@dataclass(frozen=True, slots=True)
class Carrying:
    """How plans are carried out.

    Attributes:
        context: data and executor, where roundings and corrections need them.
        trainable: weights stay float before QuantizeLinear, so that they can be trained; nothing is folded.
        rounder: rounds weights, whatever plans say; as they say where not given.
    """

    context: Context
    trainable: bool = False
    rounder: Rounder | None = None

    def proposals(self, program: Program, plan: Plan) -> Proposals:
        """The rewrites of a plan, in order, each made on the program as the ones before left it."""
        yield from self.decided(program, read(plan, program))

    def decided(self, program: Program, decided: Decided) -> Proposals:
        """The rewrites of decisions."""
        yield from decided.misses
        steps = decided.steps
        if self.trainable and (steps.correct_bias or steps.compensate):
            yield Miss("nothing is corrected: weights stay float and are going to be trained", _output(program))
            steps = replace(steps, correct_bias=False, compensate=False)
        before = program.clone() if steps.correct_bias else None
        if steps.equalize:
            yield from Equalize().rewrites(program, self.context)
        yield from smooth_rewrites(program, decided.smoothings)
        rounder, prepare = self.rounder or rounder_for(program, decided.choices, self.context), None
        if steps.compensate:
            if self.context.calibration is None or self.context.executor is None:
                yield Miss("layers do not make up for each other's errors: that takes calibration data", _output(program))
            else:
                rounder = Compensator(program.clone(), self.context, rounder)
                prepare = partial(rounder.prepare, program)
        static = {unit: choice for unit, choice in decided.choices.items() if isinstance(choice, Static)}
        yield from quantize_static(program, static, decided.grids, rounder, trainable=self.trainable, prepare=prepare)
        activations = Activations.of(program)
        for unit, choice in decided.choices.items():
            if not isinstance(choice, Static):
                yield _rewrite(unit, choice, activations, rounder)
        yield from rounder.misses
        if static and not self.trainable:
            yield from Fold().folding(program)
        if before is not None:
            yield from self._correct(before, program)

    def _correct(self, before: Program, program: Program) -> Proposals:
        if self.context.calibration is None or self.context.executor is None:
            yield Miss("biases are left as they are: correcting them takes calibration data", _output(program))
        else:
            yield from correct_biases(before, program, self.context)

    def carried(self, program: Program, plan: Plan) -> Program:
        """A clone with a plan carried out, to be tried."""
        clone = program.clone()
        apply_all(clone, self.proposals(clone, plan))
        return clone


def _output(program: Program) -> str:
    return program.graph.outputs[0].name or ""


def _rewrite(unit: Unit, choice: Choice, activations: Activations, rounder: Rounder) -> Rewrite:
    site = unit.sites[0]
    if isinstance(choice, BlockWise):
        stored = "stored as bytes" if site.kind == "conv" else f"in blocks of {choice.block_size}"
        why = f"{choice.bits}-bit weights {stored}"
        return Rewrite.edit(site.name, why, lambda editor: quantize_blocks(editor, unit, choice, rounder), anchor=site.node)
    assert isinstance(choice, Dynamic), "static units are carried out together"
    why = f"int{choice.bits} weights by {choice.axis}, activations quantized as they come"
    if site.kind == "lstm":
        return Rewrite.edit(site.name, why, lambda editor: quantize_lstm(editor, unit, choice, rounder), anchor=site.node)
    if site.kind == "gru":
        return Rewrite.edit(site.name, why, lambda editor: quantize_gru(editor, unit, choice, rounder), anchor=site.node)
    return Rewrite.edit(site.name, why, lambda editor: quantize_dynamic(editor, unit, choice, activations, rounder), anchor=site.node)
