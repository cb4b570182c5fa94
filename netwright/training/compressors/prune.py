"""Weights of which the smallest are zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from netwright.ir.errors import PipelineError
from netwright.ir.fingerprint import fingerprint
from netwright.ir.program import Program
from netwright.passes.base import Proposals
from netwright.passes.context import Context
from netwright.passes.plan import Decision, Plan
from netwright.passes.rewrite import Rewrite
from netwright.training.compressors.base import Compression, Compressor, Tensors
from netwright.training.compressors.sites import find_weights
from netwright.training.compressors.straight import straight_through


@dataclass(frozen=True, kw_only=True)
class PruneWeights(Compressor):
    """The smallest weights of each tensor become zero; which ones is decided anew at every step.

    Gradients reach the zeros too, so that a weight can come back. With `ramp`, sparsity rises from nothing along a cubic over so many
    steps (Zhu & Gupta, To prune, or not to prune, arXiv 1710.01878).
    """

    name: ClassVar[str] = "prune"

    sparsity: float = 0.5
    """The share of each tensor that is zero, from 0 to below 1."""
    structured: bool = False
    """Must be False: this compressor zeroes single weights."""
    ramp: int = 0
    """Optimizer steps over which sparsity rises."""
    head: bool = False
    """Prune the head as well."""
    where: tuple[str, ...] = ()
    """Patterns of tensors or modules; none means all."""
    exclude: tuple[str, ...] = ()
    """Patterns of tensors or modules that stay as they are."""

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise PipelineError(f"Sparsity is from 0 to below 1, not {self.sparsity!r}.", place="sparsity")
        if self.structured:
            raise PipelineError("This compressor zeroes single weights.", place="structured", remedy="Leave structured out.")
        if self.ramp < 0:
            raise PipelineError(f"ramp is a number of steps, not {self.ramp!r}.", place="ramp")

    def choose(self, program: Program, context: Context) -> Plan:
        """Every weight but the head."""
        del context
        weights = find_weights(program, head=self.head, where=self.where, exclude=self.exclude)
        decisions: dict[str, Decision] = {site.name: {"sparsity": self.sparsity, "kind": site.kind} for site in weights.sites}
        note = f"{weights.vectors} vectors (biases, norms) stay as they are" if weights.vectors else ""
        return Plan(pass_name=self.name, fingerprint=fingerprint(program), decisions=decisions, misses=weights.misses, note=note)

    def bind(self, program: Program, plan: Plan, context: Context) -> Compression:
        """The masks at work."""
        del program, context
        return PrunedWeights(self, plan)


class PrunedWeights(Compression):
    """Weights times masks; gradients go straight through."""

    def __init__(self, options: PruneWeights, plan: Plan) -> None:
        super().__init__(plan)
        self._ramp = options.ramp
        self._shares = {name: float(str(decision["sparsity"])) for name, decision in plan.decisions.items()}

    def compress(self, weights: Tensors, step: int) -> dict[str, Tensor]:
        """`w · [|w| is not among the smallest]`."""
        done = 1.0 if self._ramp == 0 or step >= self._ramp else step / self._ramp
        risen = 1.0 - (1.0 - done) ** 3
        return {name: straight_through(weights[name], masked(weights[name], share * risen)) for name, share in self._shares.items()}

    def store(self, program: Program, weights: Tensors) -> Proposals:
        """Nothing to rewrite: zeros are stored as any number; an action for each tensor says so."""
        for name, share in self._shares.items():
            value = program.graph.initializers.get(name)
            if value is None or value.const_value is None:
                continue
            held, count = value.const_value, round(share * math.prod(value.const_value.shape.numpy()))
            yield Rewrite.edit(
                name, f"the {count} smallest weights are zero", lambda editor, value=value, held=held: editor.set_constant(value, held)
            )

    def nominal_bits(self, name: str, shape: tuple[int, ...], width: int) -> float:
        """A bitmap and the weights that are left."""
        elements = math.prod(shape)
        return elements + width * (elements - round(self._shares[name] * elements))


@torch.no_grad()
def masked(weight: Tensor, share: float) -> Tensor:
    """A weight whose smallest elements are zero: `round(share · elements)` of them; of equal ones, the first."""
    count = round(share * weight.numel())
    if count == 0:
        return weight.detach()
    flat = weight.detach().reshape(-1)
    order = torch.argsort(flat.abs(), stable=True)
    result = flat.clone()
    result[order[:count]] = 0
    return result.reshape(weight.shape)
