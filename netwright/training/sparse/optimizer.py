"""The sparse optimizer as a `torch.optim.Optimizer`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import numpy as np
import torch

from netwright.training.errors import TrainingError
from netwright.training.sparse.arithmetic import Ledger, Part, Slot, take_step
from netwright.training.sparse.schedule import PenaltySchedule
from netwright.training.sparse.settings import SparseSettings
from netwright.training.sparse.vector import NumpyOps, check_steps

_NUMPY = (torch.float32, torch.float64)
"""Types that numpy has too."""


class SparseOptimizer(torch.optim.Optimizer):
    """Trains, and zeroes single weights while it does: as many as a preset, cumulative penalty allows.

    For any torch module, apart from netwright's own loop too:

        optimizer = SparseOptimizer(module.parameters(), SparseSettings(sparsity=0.9), lr=1e-3, steps=2000)

    It knows nothing of the module. Zeros are exact; weights of a group with `penalised=False` are only trained. For the arithmetic see
    `netwright.training.sparse.arithmetic`. Its state is tensors and numbers, and resumes bit for bit.

    Args:
        params: parameters, or groups of them, each perhaps with `lr`, `weight_decay` and `penalised` of its own.
        settings: what is penalised, and how. `tensors`, `where` and `exclude` have no meaning here: groups say it.
        lr: learning rate.
        steps: of the whole run, for the schedule; None for a penalty that is whole from the first step.
        weight_decay: apart from the gradient, per unit of learning rate.

    Raises:
        TrainingError: settings that lack something; a share of zeros without a number of steps; nothing to penalise.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor] | Iterable[dict[str, object]],
        settings: SparseSettings,
        *,
        lr: float,
        steps: int | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        settings.complete()
        check_steps(settings, steps)
        ledger = Ledger()
        defaults = {"lr": lr, "weight_decay": weight_decay, "penalised": True, "step": 0, "laid": ledger.laid, "rate": ledger.rate}
        super().__init__(cast("Iterable[torch.Tensor]", params), defaults)
        self._settings = settings
        self._schedule = PenaltySchedule(steps, settings.begin, settings.ramp, settings.settle)
        if not any(group["penalised"] for group in self.param_groups):
            raise TrainingError("No group is penalised.", place="params", remedy="Leave penalised=True where zeros are wanted.")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Make one step; parameters without a gradient stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        parts = [self._part(group) for group in self.param_groups]
        take_step([part for part, _ in parts], self._settings, self._schedule, TorchOps())
        for (part, parameters), group in zip(parts, self.param_groups, strict=True):
            group.update(step=part.ledger.step, laid=part.ledger.laid, rate=part.ledger.rate)
            for slot, parameter in zip(part.slots, parameters, strict=True):
                parameter.copy_(slot.weight)
        return loss

    @property
    def settled(self) -> bool:
        """Whether no further penalty will be laid on."""
        return self._schedule.settled(self.param_groups[0]["step"])

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Go on from a state; what is kept in more bits than the parameter stays so."""
        super().load_state_dict(cast("dict[str, object]", state_dict))
        saved = cast("Mapping[int, Mapping[str, torch.Tensor]]", state_dict["state"])
        parameters = [parameter for group in self.param_groups for parameter in cast("list[torch.Tensor]", group["params"])]
        for index, entry in saved.items():
            place = self.state[parameters[index]]
            for name, tensor in entry.items():
                place[name] = tensor.to(device=parameters[index].device, dtype=tensor.dtype, copy=True)

    def _part(self, group: Mapping[str, object]) -> tuple[Part[torch.Tensor], list[torch.Tensor]]:
        """A group as the arithmetic has it, and its parameters that have a gradient."""
        parameters = [one for one in cast("list[torch.Tensor]", group["params"]) if one.grad is not None]
        slots = [Slot(one, cast("torch.Tensor", one.grad), cast("dict[str, torch.Tensor]", self.state[one])) for one in parameters]
        ledger = Ledger(cast("int", group["step"]), cast("float", group["laid"]), cast("float", group["rate"]))
        lr, decay = cast("float", group["lr"]), cast("float", group["weight_decay"])
        return Part(slots, lr, decay, bool(group["penalised"]), ledger), parameters


class TorchOps:
    """See `Ops`."""

    def zeros_like(self, x: torch.Tensor, /) -> torch.Tensor:
        """Zeros of the same shape."""
        return torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))

    def sign(self, x: torch.Tensor, /) -> torch.Tensor:
        """−1, 0 or 1."""
        return torch.sign(x)

    def size_of(self, x: torch.Tensor, /) -> torch.Tensor:
        """Each number without its sign."""
        return torch.abs(x)

    def sqrt(self, x: torch.Tensor, /) -> torch.Tensor:
        """The square root, rounded as IEEE 754 has it: torch's own, on CPUs with MKL, is not, and so differs from machine to machine."""
        if x.device.type != "cpu" or x.dtype not in _NUMPY:
            return torch.sqrt(x)
        return torch.from_numpy(np.sqrt(x.numpy()))

    def keep_above(self, threshold: float, test: torch.Tensor, x: torch.Tensor, /) -> torch.Tensor:
        """`x` where `test` is above the threshold, +0.0 elsewhere."""
        return torch.where(test > threshold, x, 0.0)

    def smallest(self, arrays: Sequence[torch.Tensor], count: int, /) -> float:
        """The largest of the `count` smallest numbers; on CPUs by numpy, whose selection is many times as fast."""
        if all(array.device.type == "cpu" and array.dtype in _NUMPY for array in arrays):
            return NumpyOps().smallest([array.numpy() for array in arrays], count)
        return float(torch.cat([array.reshape(-1) for array in arrays]).kthvalue(count).values)

    def count_zeros(self, x: torch.Tensor, /) -> int:
        """How many numbers are zero."""
        return x.numel() - int(torch.count_nonzero(x))

    def count(self, x: torch.Tensor, /) -> int:
        """How many numbers there are."""
        return x.numel()
