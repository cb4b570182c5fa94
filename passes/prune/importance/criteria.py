"""The criteria by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from netwright.ir.coupling.group import Group
from netwright.ir.errors import PipelineError
from netwright.passes.prune.importance.attention import heads_by_qkv
from netwright.passes.prune.importance.evidence import Evidence, counted, fold
from netwright.passes.prune.importance.reconstruction import reconstruction

Judge: TypeAlias = Callable[[Group, Evidence], "np.ndarray | str"]
"""Scores of a group's units, float [size], higher means keep; or why the criterion does not apply to the group."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """A way of telling how much units matter.

    Attributes:
        judge: scores one group.
        needs: what the context must have.
        comparable: whether scores of different groups are in one unit (a change of the loss, say).
    """

    judge: Judge
    needs: frozenset[str] = frozenset()
    comparable: bool = False


def l1(group: Group, evidence: Evidence) -> np.ndarray:
    """Mean over tensors of Σ |w| over the unit's slice."""
    return np.mean([evidence.sums(group, part, np.abs(evidence.weight(part.weight))) for part in counted(group)], axis=0)


def l2(group: Group, evidence: Evidence) -> np.ndarray:
    """Mean over tensors of √(Σ w²) over the unit's slice."""
    return np.mean([np.sqrt(evidence.sums(group, part, _squared(evidence.weight(part.weight)))) for part in counted(group)], axis=0)


def bn_scale(group: Group, evidence: Evidence) -> np.ndarray | str:
    """|γ| of the batch norms on the way, averaged (Liu et al., Learning efficient convolutional networks, arXiv 1708.06519)."""
    norms = {node.outputs[0].name for node in evidence.program.nodes("BatchNormalization") if node.outputs}
    scales = [part for part in group.slices if part.role == "scale" and any(site in norms for site in part.nodes)]
    if not scales:
        return "no batch norm scales its units (simplify folds them into convolutions; prune before it to have them)"
    return np.mean([evidence.sums(group, part, np.abs(evidence.weight(part.weight))) for part in scales], axis=0)


def taylor(group: Group, evidence: Evidence) -> np.ndarray | str:
    """|Σ w ∂L/∂w| over all of a unit's slices, averaged over small batches: what the loss changes by, to first order, without it.

    After Molchanov et al. (Importance estimation for neural network pruning, arXiv 1906.10771); the sign is kept within a unit, whose
    parameters go together. What makes a unit and what consumes it tell of the same change, hence the half.
    """
    if not evidence.trained(group):
        return "none of its weights has a gradient"
    return 0.5 * np.abs(evidence.first_order(group)).mean(axis=0)


def hessian(group: Group, evidence: Evidence) -> np.ndarray | str:
    """½ Σ F w² over all of a unit's slices, F the diagonal of the empirical Fisher matrix (Theis et al., arXiv 1801.05787)."""
    parts = evidence.trained(group)
    if not parts:
        return "none of its weights has a gradient"
    terms = [evidence.sums(group, part, evidence.fisher(part.weight) * _squared(evidence.weight(part.weight))) for part in parts]
    return 0.5 * np.sum(terms, axis=0)


def activation(group: Group, evidence: Evidence) -> np.ndarray | str:
    """√(E[x²]) |W| for what a unit adds to its consumers' outputs, each relative to all units' there, averaged over consumers.

    The activation times the norm of the weights that it meets, as in Sun et al. (A simple and effective pruning approach for large
    language models, arXiv 2306.11695), by units.
    """
    consumers = evidence.consumers(group)
    if not consumers:
        return "no layer whose activations can be seen consumes its units"
    shares: list[np.ndarray] = []
    for one in consumers:
        rows = one.by_channel(evidence.weight(one.part.weight))
        energy = fold(one.units, evidence.power(one) * np.einsum("ij,ij->i", rows, rows, dtype=np.float64), group.size)
        shares.append(np.sqrt(energy / (energy.sum() or 1.0)))
    return np.mean(shares, axis=0)


def random(group: Group, evidence: Evidence) -> np.ndarray:
    """Numbers from 0 to 1, drawn from the context's seed and the group's name."""
    return np.random.default_rng([evidence.context.seed, *group.name.encode()]).uniform(size=group.size)


_GRADIENTS = frozenset({"training", "loss"})
_DATA = frozenset({"calibration"})

CRITERIA: Mapping[str, Criterion] = MappingProxyType(
    {
        "l1": Criterion(l1),
        "l2": Criterion(l2),
        "bn_scale": Criterion(bn_scale),
        "taylor": Criterion(taylor, _GRADIENTS, comparable=True),
        "hessian": Criterion(hessian, _GRADIENTS, comparable=True),
        "activation": Criterion(activation, _DATA, comparable=True),
        "reconstruction": Criterion(reconstruction, _DATA, comparable=True),
        "qkv": Criterion(heads_by_qkv),
        "random": Criterion(random),
    }
)
"""All criteria that have a name."""


def criterion_of(criterion: str | Judge) -> Criterion:
    """The criterion of a name; a function as one.

    Raises:
        PipelineError: there is none of that name.
    """
    if not isinstance(criterion, str):
        return Criterion(criterion)
    if criterion not in CRITERIA:
        raise PipelineError(f"There is no criterion {criterion!r}.", place="criterion", remedy=f"Criteria: {', '.join(CRITERIA)}.")
    return CRITERIA[criterion]


def criterion_needs(criterion: str | Judge) -> frozenset[str]:
    """What a criterion needs of the context, by field.

    Raises:
        PipelineError: there is none of that name.
    """
    return criterion_of(criterion).needs


def _squared(weight: np.ndarray) -> np.ndarray:
    return np.square(weight, dtype=np.float64)
