"""What the optimizers over units have in common: the step towards less loss, zeros that stay, a schedule, a state that resumes.

Overlapping units (heads, and features within them) share numbers; each is measured and pulled by itself, and a number is zero where any
of its units is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar, cast

import torch

from netwright.training.errors import TrainingError
from netwright.training.group_sparse.bases import MOMENTS, Descent
from netwright.training.group_sparse.blocks import choose, choose_evenly, most
from netwright.training.group_sparse.saliency import Measured
from netwright.training.group_sparse.settings import GroupSparseSettings
from netwright.training.group_sparse.units import Units

S = TypeVar("S", bound=GroupSparseSettings)
Directions = Mapping[torch.Tensor, torch.Tensor]
"""By parameter with a gradient, what is subtracted from it, per unit of learning rate."""


class GroupSparse(torch.optim.Optimizer, Generic[S]):
    """Trains, and makes whole units zero while it does; see the subclasses.

    Penalties are per unit of the first parameter group's learning rate, which should be all groups'.

    Args:
        params: parameters, or groups of them with a `weight_decay` of their own.
        units: what may become zero, in those parameters.
        settings: how.
        lr: learning rate.
        steps: of the whole run.
        weight_decay: apart from the gradient, per unit of learning rate.

    Raises:
        TrainingError: settings that lack something; no unit, or fewer than are to go; too few steps.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor] | Iterable[dict[str, object]],
        units: Units,
        settings: S,
        *,
        lr: float,
        steps: int,
        weight_decay: float = 0.0,
    ) -> None:
        settings.complete()
        super().__init__(cast("Iterable[torch.Tensor]", params), {"lr": lr, "weight_decay": weight_decay})
        self.units = units
        self.settings = settings
        self.begin = round(settings.begin * steps)
        self.end = max(steps - round(settings.settle * steps), self.begin + 1)
        self.count = self._wanted(steps)
        self._descent = Descent(settings.base, settings.momentum, settings.betas)
        self._step = 0
        self._scales: torch.Tensor = torch.zeros_like(units.sizes)
        self._chosen: torch.Tensor = torch.zeros_like(units.sizes, dtype=torch.bool)
        self._zero: torch.Tensor = self._chosen.clone()
        self._held: dict[torch.Tensor, torch.Tensor] = {}

    @property
    def settled(self) -> bool:
        """Whether all zeros are there, and stay."""
        return self._step >= self.end

    @property
    def zero_units(self) -> dict[str, tuple[int, ...]]:
        """The units that are zero for good, by group."""
        return self.units.by_group(self._zero)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Make one step; parameters without a gradient move only with their units."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        directions = self._directions()
        if self.begin <= self._step < self.end:
            self.prune(directions)
        else:
            self.move(directions)
        self._step += 1
        if self._step == self.end:
            self._mark(self.last())
        self._keep_zeros()
        return loss

    # ---- for subclasses ------------------------------------------------------------------------------------------

    @abstractmethod
    def prune(self, directions: Directions) -> None:
        """Make a step in which units are pulled towards zero."""

    @abstractmethod
    def last(self) -> torch.Tensor:
        """The units that are to be zero at the end of pruning, bool [count]."""

    def move(self, directions: Directions, shrink: torch.Tensor | None = None) -> None:
        """Make the step x ← (1 − lr c) x − lr d; c is what `shrink` holds for a number's unit, and a factor below 0 counts as 0."""
        for group in self.param_groups:
            for parameter in cast("list[torch.Tensor]", group["params"]):
                if shrink is not None and parameter in self.units.places:
                    for laid in self.units.spread(parameter, (self.lr * shrink), 0.0):
                        parameter.mul_((1 - laid).clamp_min_(0).to(parameter.dtype))
                if (direction := directions.get(parameter)) is not None:
                    parameter.add_(direction, alpha=-group["lr"])

    def scale(self, factors: torch.Tensor) -> None:
        """x_u ← factor_u · x_u for every unit."""
        for parameter in self.units.places:
            for laid in self.units.spread(parameter, factors, 1.0):
                parameter.mul_(laid.to(parameter.dtype))

    def choose(self, scores: torch.Tensor, count: int, gone: torch.Tensor | None = None, *, whole: bool = True) -> torch.Tensor:
        """The lowest `count` units, in blocks that leave round counts, with those that are gone (zero for good, if not told)."""
        known = self._zero if gone is None else gone
        among = choose if self.settings.global_ranking else choose_evenly
        chosen = among(self.units.ranges, scores.cpu().numpy(), count, known.cpu().numpy(), whole=whole)
        return torch.from_numpy(chosen).to(known.device)

    def squares(self) -> torch.Tensor:
        """‖x_u‖² of every unit."""
        return self.units.sums(torch.square)

    def inner(self, directions: Directions) -> torch.Tensor:
        """⟨x_u, d_u⟩ of every unit."""
        return self.units.sums(lambda parameter: parameter * found if (found := directions.get(parameter)) is not None else None)

    def measured(self) -> Measured:
        """What weights and smoothed gradients say of each unit."""
        smoothed = {parameter: self._descent.gradient(parameter, self.state[parameter]) for parameter in self.units.places}
        known = {parameter: gradient for parameter, gradient in smoothed.items() if gradient is not None}
        gradients = self.units.sums(lambda parameter: known[parameter].square() if parameter in known else None)
        return Measured(self.units.sizes, self.squares(), self.inner(known), gradients)

    def relative(self, norms: torch.Tensor) -> torch.Tensor:
        """Norms as multiples of their group's mean when this was first asked for: so layers of other sizes and scales compare."""
        if not bool(self._scales.any()):
            for one in self.units.ranges:
                self._scales[one.all] = norms[one.all].mean().clamp_min(1e-30)
        return norms / self._scales

    def strength(self, told: float | None) -> float:
        """λ on all units alike: as told, or what takes half its norm from a unit of mean size in the steps of pruning."""
        return told if told is not None else 0.5 / max(self.lr * (self.end - self.begin), 1e-30)

    def due(self, relative: torch.Tensor) -> torch.Tensor:
        """The units that are zero after this step at the latest: with a share to reach the smallest, on a straight way there."""
        if self.settings.sparsity is None:
            return self._zero
        return self.choose(relative, int(self.count * self.progress + 1e-6), whole=False)

    def pace(self, norms: torch.Tensor) -> torch.Tensor:
        """The penalty under which something as large as this is zero by the end of pruning, if nothing works against it."""
        return norms / max(self.lr * (self.end - self._step), 1e-30)

    @property
    def lr(self) -> float:
        """The learning rate of this step."""
        return float(self.param_groups[0]["lr"])

    @property
    def zero(self) -> torch.Tensor:
        """The units that are zero for good, bool [count]."""
        return self._zero

    @property
    def progress(self) -> float:
        """How far pruning is after this step, from 0 to 1."""
        return (self._step + 1 - self.begin) / (self.end - self.begin)

    def _mark(self, units: torch.Tensor) -> None:
        """Units are zero from the end of this step on."""
        if bool((units & ~self._zero).any()):
            self._zero = self._zero | units
            self._held.clear()

    # ---- the step ------------------------------------------------------------------------------------------------

    def _wanted(self, steps: int) -> int:
        """How many units are to be zero."""
        possible = most(self.units.ranges)
        share = self.settings.sparsity
        wanted = possible if share is None else int(share * self.units.count + 1e-6)
        if wanted > possible or not possible:
            raise TrainingError(
                f"Of {self.units.count} units {possible} can go, and {wanted} are to.",
                place="sparsity",
                remedy=f"At least one round_to of each group stays: give a share up to {possible / max(self.units.count, 1):.2f}, "
                "or a smaller round_to.",
            )
        if steps < 2:
            raise TrainingError(f"In {steps} steps nothing can be pruned.", place="steps", remedy="Train for longer.")
        return wanted

    def _directions(self) -> Directions:
        found: dict[torch.Tensor, torch.Tensor] = {}
        for group in self.param_groups:
            for parameter in cast("list[torch.Tensor]", group["params"]):
                if parameter.grad is not None:
                    found[parameter] = self._descent.direction(parameter, self.state[parameter], group["weight_decay"])
        return found

    def _keep_zeros(self) -> None:
        """Zero units are zero, and have no momentum."""
        if not self._held and bool(self._zero.any()):
            flags = self._zero.to(torch.float32)
            for parameter in self.units.places:
                masks = [laid > 0 for laid in self.units.spread(parameter, flags, 0.0)]
                held = masks[0]
                for mask in masks[1:]:
                    held = held | mask
                if bool(held.any()):
                    self._held[parameter] = held
        for parameter, held in self._held.items():
            state = self.state[parameter]
            for tensor in (parameter, *(state[name] for name in MOMENTS if name in state)):
                tensor.masked_fill_(held, 0.0)

    # ---- state ---------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, object]:
        """Everything that is needed to go on, bit for bit."""
        own = {"step": self._step, "scales": self._scales.clone(), "zero": self._zero.clone(), "chosen": self._chosen.clone()}
        return {**super().state_dict(), "units": own}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Go on from what `state_dict` gave.

        Raises:
            TrainingError: it is of another optimizer, or of other units.
        """
        own = cast("Mapping[str, object]", state_dict.get("units", {}))
        zero, chosen = own.get("zero"), own.get("chosen")
        if not isinstance(zero, torch.Tensor) or not isinstance(chosen, torch.Tensor) or zero.shape != self._zero.shape:
            raise TrainingError(
                "This is no state of an optimizer over these units.", place="state_dict", remedy="Give what state_dict() returned."
            )
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "units"})
        self._step, self._scales = cast("int", own["step"]), cast("torch.Tensor", own["scales"]).to(self._zero.device, copy=True)
        self._zero, self._chosen = zero.to(self._zero.device, copy=True), chosen.to(self._chosen.device, copy=True)
        self._held.clear()
