"""One step of the sparse optimizer, the same for numpy's arrays and torch's tensors.

It sees weights and the gradient of the loss, nothing of the model: each weight is pruned for itself. First comes a step of the base
optimizer, w ← w − lr · d, in whose moments the penalty has no part. Then the penalty:

`cumulative` (Tsuruoka, Tsujii and Ananiadou, ACL 2009). u is the penalty that every weight could have received by now, q what a weight
did receive (signed). A weight is pulled towards zero by what it is still owed, and clipped there: for w > 0, max(0, w − (u + q)), for
w < 0, min(0, w + (u − q)). So noise in the gradient cannot carry a weight over zero and back, zeros are exact, and a zero stays one
until its gradients have together outweighed all that it is owed. For a preset share of zeros u grows, and never shrinks, to the
smallest total that leaves so many: a weight is zero exactly if |w| − sign(w) q ≤ u.

`proximal`: w ← sign(w) max(0, |w| − lr λ), the proximal step of λ‖w‖₁ (iterative soft thresholding).

`hard`: w ← 0 where |w| ≤ √(2 lr λ), the proximal step of λ‖w‖₀ (iterative hard thresholding, Blumensath and Davies 2008); for a preset
share of zeros the threshold is that quantile of |w|, which is gradual magnitude pruning with regrowth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from netwright.training.sparse.schedule import PenaltySchedule
from netwright.training.sparse.settings import SparseSettings

if TYPE_CHECKING:
    import torch

A = TypeVar("A", np.ndarray, "torch.Tensor")

FIRST_RATE = 1e-3
"""λ that `proximal` begins with where it has to find its own."""

GAIN = 20.0
"""How far it may go from there: by this power of e over the ramp, if all zeros were missing all the while."""

EPSILON = 1e-8
"""Of AdamW."""


class Ops(Protocol[A]):
    """What both kinds of arrays can do, and each calls otherwise."""

    def zeros_like(self, x: A, /) -> A:
        """Zeros of the same shape; float32 at the least."""
        ...

    def sign(self, x: A, /) -> A:
        """−1, 0 or 1."""
        ...

    def size_of(self, x: A, /) -> A:
        """Each number without its sign."""
        ...

    def sqrt(self, x: A, /) -> A:
        """The square root."""
        ...

    def keep_above(self, threshold: float, test: A, x: A, /) -> A:
        """`x` where `test` is above the threshold, +0.0 elsewhere."""
        ...

    def smallest(self, arrays: Sequence[A], count: int, /) -> float:
        """The largest of the `count` smallest numbers of all arrays together."""
        ...

    def count_zeros(self, x: A, /) -> int:
        """How many numbers are zero."""
        ...

    def count(self, x: A, /) -> int:
        """How many numbers there are."""
        ...


@dataclass(slots=True)
class Slot(Generic[A]):
    """One array of weights: `weight` is replaced by a step.

    Attributes:
        weight: as it is.
        gradient: of the loss, of the same shape.
        state: what is carried from step to step, by name.
    """

    weight: A
    gradient: A
    state: dict[str, A]


@dataclass(slots=True)
class Ledger:
    """What a group carries from step to step beside arrays.

    Attributes:
        step: steps made.
        laid: u of `cumulative`, the penalty laid on every weight so far.
        rate: λ that `proximal` has come to, on the way to a share of zeros; 0 before it is known.
    """

    step: int = 0
    laid: float = 0.0
    rate: float = 0.0


@dataclass(slots=True)
class Part(Generic[A]):
    """Weights that are treated alike.

    Attributes:
        slots: the arrays.
        lr: learning rate of this step.
        decay: weight decay apart from the gradient, per unit of learning rate.
        penalised: whether they may become zero.
        ledger: advanced by a step.
    """

    slots: list[Slot[A]]
    lr: float
    decay: float
    penalised: bool
    ledger: Ledger = field(default_factory=Ledger)


def take_step(parts: Sequence[Part[A]], settings: SparseSettings, schedule: PenaltySchedule, ops: Ops[A]) -> None:
    """Make one step. Linear in the weights.

    Args:
        parts: all that is trained.
        settings: how.
        schedule: of the penalty.
        ops: of the arrays' kind.
    """
    pruned = [part for part in parts if part.penalised]
    step = pruned[0].ledger.step if pruned else 0
    settled = schedule.settled(step)
    for part in parts:
        for slot in part.slots:
            before = slot.weight
            slot.weight = _descend(slot, part, settings, ops)
            if settled and part.penalised:
                slot.weight = ops.keep_above(0.0, ops.size_of(before), slot.weight)
        part.ledger.step += 1
    if not settled and pruned:
        {"cumulative": _cumulative, "proximal": _proximal, "hard": _hard}[settings.method](pruned, step, settings, schedule, ops)


# ---- towards less loss -----------------------------------------------------------------------------------------------


def _descend(slot: Slot[A], part: Part[A], settings: SparseSettings, ops: Ops[A]) -> A:
    """The weight after a step of the base optimizer."""
    weight = slot.weight * (1.0 - part.lr * part.decay) if part.decay else slot.weight
    if settings.base == "sgd":
        return weight - part.lr * slot.gradient
    if settings.base == "momentum":
        slot.state["momentum"] = _carried(slot, "momentum", ops) * settings.momentum + slot.gradient
        return weight - part.lr * slot.state["momentum"]
    first, second = settings.betas
    mean = slot.state["mean"] = _carried(slot, "mean", ops) * first + slot.gradient * (1.0 - first)
    square = slot.state["square"] = _carried(slot, "square", ops) * second + slot.gradient * slot.gradient * (1.0 - second)
    number = part.ledger.step + 1
    unbiased = 1.0 / math.sqrt(1.0 - second**number)
    return weight - part.lr / (1.0 - first**number) * (mean / (ops.sqrt(square) * unbiased + EPSILON))


def _carried(slot: Slot[A], name: str, ops: Ops[A]) -> A:
    found = slot.state.get(name)
    return ops.zeros_like(slot.weight) if found is None else found


# ---- towards zero ----------------------------------------------------------------------------------------------------


def _cumulative(parts: Sequence[Part[A]], step: int, settings: SparseSettings, schedule: PenaltySchedule, ops: Ops[A]) -> None:
    needs = [[_need(slot, ops) for slot in part.slots] for part in parts]
    wanted = _wanted(parts, step, settings, schedule, ops)
    enough = ops.smallest([need for part in needs for need in part], wanted) if wanted else 0.0
    for part, needed in zip(parts, needs, strict=True):
        if settings.penalty is None:
            part.ledger.laid = max(part.ledger.laid, enough)
        else:
            part.ledger.laid += part.lr * settings.penalty * schedule.strength(step)
        for slot, need in zip(part.slots, needed, strict=True):
            _lay(slot, need, part.ledger.laid, ops)


def _need(slot: Slot[A], ops: Ops[A]) -> A:
    """|w| − sign(w) q: the total penalty under which each weight is zero."""
    return ops.size_of(slot.weight) - ops.sign(slot.weight) * _carried(slot, "received", ops)


def _lay(slot: Slot[A], need: A, laid: float, ops: Ops[A]) -> None:
    weight = ops.keep_above(laid, need, ops.sign(slot.weight) * (need - laid))
    slot.state["received"] = _carried(slot, "received", ops) + (weight - slot.weight)
    slot.weight = weight


def _proximal(parts: Sequence[Part[A]], step: int, settings: SparseSettings, schedule: PenaltySchedule, ops: Ops[A]) -> None:
    wanted = _wanted(parts, step, settings, schedule, ops)
    for part in parts:
        rate = settings.penalty * schedule.strength(step) if settings.penalty is not None else part.ledger.rate
        for slot in part.slots:
            size = ops.size_of(slot.weight)
            slot.weight = ops.keep_above(part.lr * rate, size, ops.sign(slot.weight) * (size - part.lr * rate))
    if settings.penalty is None:
        _steer(parts, wanted, GAIN / schedule.ramp_steps, ops)


def _steer(parts: Sequence[Part[A]], wanted: int, gain: float, ops: Ops[A]) -> None:
    """Raise λ where zeros are missing, and lower it where there are too many: its logarithm integrates what is missing."""
    slots = [slot for part in parts for slot in part.slots]
    count = sum(ops.count(slot.weight) for slot in slots)
    missing = (wanted - sum(ops.count_zeros(slot.weight) for slot in slots)) / count
    for part in parts:
        part.ledger.rate = (part.ledger.rate or FIRST_RATE) * math.exp(gain * missing)


def _hard(parts: Sequence[Part[A]], step: int, settings: SparseSettings, schedule: PenaltySchedule, ops: Ops[A]) -> None:
    wanted = _wanted(parts, step, settings, schedule, ops)
    sizes = [[ops.size_of(slot.weight) for slot in part.slots] for part in parts]
    quantile = ops.smallest([size for part in sizes for size in part], wanted) if wanted else 0.0
    for part, found in zip(parts, sizes, strict=True):
        strength = 0.0 if settings.penalty is None else settings.penalty * schedule.strength(step)
        threshold = quantile if settings.penalty is None else math.sqrt(2.0 * part.lr * strength)
        for slot, size in zip(part.slots, found, strict=True):
            slot.weight = ops.keep_above(threshold, size, slot.weight)


def _wanted(parts: Sequence[Part[A]], step: int, settings: SparseSettings, schedule: PenaltySchedule, ops: Ops[A]) -> int:
    """How many zeros there should be after this step; 0 where the penalty decides."""
    if settings.sparsity is None:
        return 0
    count = sum(ops.count(slot.weight) for part in parts for slot in part.slots)
    return min(count, math.ceil(settings.sparsity * schedule.share(step) * count - 1e-6))
