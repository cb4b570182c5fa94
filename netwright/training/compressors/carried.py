"""Any compressing pass as a compressor: it is carried out on the weights of now, and each weight is seen through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.errors import NetwrightError
from netwright.ir.fingerprint import fingerprint
from netwright.ir.ledger import Miss
from netwright.ir.program import Program, constant
from netwright.passes.base import Pass, PlannedPass, Proposals
from netwright.passes.context import Context
from netwright.passes.manager import run
from netwright.passes.plan import Decision, Plan
from netwright.training.compressors.base import Compression, Compressor, Tensors
from netwright.training.compressors.probing import probe
from netwright.training.compressors.straight import straight_through
from netwright.training.compressors.through import Seen, see_through

REFRESH = 10


@dataclass(frozen=True, kw_only=True)
class CarriedPlan(Plan):
    """Which weights a pass changes, with the pass's own plan."""

    inner: Plan | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class PassCompressor(Compressor):
    """A pass of a pipeline as it is: every few steps its plan is carried out on the program with the weights of then.

    Between two such steps the model computes with the last result. What the pass does to activations is not seen while training.
    """

    name: ClassVar[str] = "pass"

    made: Pass = field()
    """The pass."""
    refresh: int = REFRESH
    """Optimizer steps between two runs of the pass."""

    def choose(self, program: Program, context: Context) -> CarriedPlan:
        """Run the pass once and see which weights it changes.

        Raises:
            NetwrightError: the pass changes nothing, or weights in a way that no value map undoes.
        """
        inner = self.made.chosen_plan(program, context) if isinstance(self.made, PlannedPass) else None
        weights = _float_weights(program)
        seen = _run(self.made, inner, program, weights, context)
        refused = {name: reason for name, reason in seen.refused.items() if weights[name].ndim >= 2}
        if refused:
            name, reason = next(iter(refused.items()))
            raise NetwrightError(
                f"{len(refused)} weights cannot be seen through {self.made}: {reason}.",
                place=name,
                remedy="Use a pass whose value maps lead back, or quantize(bits=…), lowrank, prune, share.",
            )
        changed = [name for name, array in seen.arrays.items() if array.tobytes() != weights[name].tobytes()]
        if not changed:
            raise NetwrightError(f"{self.made} changes no weight.", place=str(self.made), remedy="Look at its misses with `netwright opt`.")
        decisions: dict[str, Decision] = {name: {"pass": str(self.made)} for name in changed}
        misses = [*(inner.misses if inner is not None else ()), *(Miss(reason, name) for name, reason in seen.refused.items())]
        return CarriedPlan(
            pass_name=self.made.name, fingerprint=fingerprint(program), decisions=decisions, misses=tuple(misses), inner=inner
        )

    def bind(self, program: Program, plan: Plan, context: Context) -> Compression:
        """The pass at work."""
        inner = plan.inner if isinstance(plan, CarriedPlan) else None
        if inner is None and isinstance(self.made, PlannedPass):
            inner = self.made.chosen_plan(program, context)
        return CarriedOut(self, plan, inner, program, context)

    def __str__(self) -> str:
        return str(self.made)


class CarriedOut(Compression):
    """Weights as a pass leaves them; gradients go straight through."""

    found_at: Tensor

    def __init__(self, options: PassCompressor, plan: Plan, inner: Plan | None, program: Program, context: Context) -> None:
        super().__init__(plan)
        self._made, self._inner, self._refresh = options.made, inner, options.refresh
        self._program, self._context = program, context
        self.register_buffer("found_at", torch.tensor(-1))
        for index, name in enumerate(plan.decisions):
            held = constant(program.graph.initializers[name])
            if held is not None:
                self.register_buffer(f"value{index}", torch.zeros(tuple(held.shape.numpy())))

    def compress(self, weights: Tensors, step: int) -> dict[str, Tensor]:
        """What the pass made of the weights last time."""
        found_at = int(self.found_at)
        if found_at < 0 or step >= found_at + self._refresh or step < found_at:
            for index, array in enumerate(self._carry_out(weights)):
                self.get_buffer(f"value{index}").copy_(array)
            self.found_at.fill_(step)
        return {
            name: straight_through(weights[name], self.get_buffer(f"value{index}").to(weights[name]))
            for index, name in enumerate(self.names)
        }

    @torch.no_grad()
    def settle(self, weights: Tensors) -> dict[str, Tensor]:
        """The weights themselves: the pass is carried out on them when they are stored."""
        return {name: weights[name].detach() for name in self.names}

    @torch.no_grad()
    def evaluate(self, weights: Tensors) -> dict[str, Tensor]:
        """What the pass makes of the weights now."""
        return {name: array.to(weights[name]) for name, array in zip(self.names, self._carry_out(weights), strict=True)}

    def store(self, program: Program, weights: Tensors) -> Proposals:
        """The pass's own rewrites."""
        del weights
        if isinstance(self._made, PlannedPass) and self._inner is not None:
            yield from self._made.carry_out(program, _fitted(self._inner, program))
        else:
            yield from self._made.rewrites(program, self._context)

    def nominal_bits(self, name: str, shape: tuple[int, ...], width: int) -> float:
        """Not known before the pass has stored it: as it is."""
        del name
        return float(width * np.prod(shape))

    def _carry_out(self, weights: Tensors) -> list[Tensor]:
        given = _float_weights(self._program)
        given.update({name: weights[name].detach().cpu().numpy() for name in self.names})
        seen = _run(self._made, self._inner, self._program, given, self._context)
        return [torch.from_numpy(np.array(seen.arrays[name])) for name in self.names]


def _run(made: Pass, inner: Plan | None, program: Program, weights: Mapping[str, np.ndarray], context: Context) -> Seen:
    """Carry the pass out on a clone with these weights, and see them through it."""
    work = program.clone()
    with work.edit() as editor:
        for name, array in weights.items():
            value = work.graph.initializers[name]
            editor.set_constant(value, array)
    plans = {**context.plans, **({made.name: _fitted(inner, work)} if inner is not None else {})}
    done = run(work, [made], replace(context, plans=plans), copy=False).program
    since = done.ledger.since(len(program.ledger.actions))
    current = {value.name or "": value.const_value.numpy() for value in done.initializers() if value.const_value is not None}
    seen = see_through(since, current, {name: array.shape for name, array in weights.items()})
    probed = probe(program, done, seen.refused, context.executor or OrtExecutor()) if seen.refused else {}
    return Seen({**seen.arrays, **probed}, {name: reason for name, reason in seen.refused.items() if name not in probed})


def _fitted(plan: Plan, program: Program) -> Plan:
    """A plan for a program that differs from its own in the values of weights only."""
    return replace(plan, fingerprint=fingerprint(program))


def _float_weights(program: Program) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, value in program.graph.initializers.items():
        tensor = constant(value)
        if tensor is not None and tensor.dtype.is_floating_point() and len(tensor.shape) >= 1:
            found[name] = tensor.numpy()
    return found
