"""One optimizer step: backward over the accumulated batches, the mean over processes, clipping, and what to do about a NaN."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from netwright.backends.torch import to_tensor
from netwright.ir.files import write_arrays
from netwright.training.diagnose import first_not_finite
from netwright.training.errors import TrainingError
from netwright.training.processes import mean_over_processes
from netwright.training.product_decay import ProductDecay
from netwright.training.randomness import generator_states, set_generator_states
from netwright.training.sharding import whole
from netwright.training.zeros import KeptZeros

if TYPE_CHECKING:
    from accelerate import Accelerator

    from netwright.data.items import Batch
    from netwright.training.interrupts import StopRequest
    from netwright.training.objective import Objective, TorchBatch
    from netwright.training.options import TrainOptions
    from netwright.training.sampling import Part


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step gave, the same in every process.

    Attributes:
        loss: mean over all rows.
        parts: what it is made of.
        stop: True where a process was asked to stop.
    """

    loss: float
    parts: Mapping[str, float]
    stop: bool


@dataclass(slots=True)
class _Micro:
    """One of the batches of a step: what is needed to look into it if it fails."""

    batch: Batch
    tensors: TorchBatch
    generators: Mapping[str, torch.Tensor]
    total: torch.Tensor
    parts: Mapping[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])


@dataclass(frozen=True, slots=True)
class Stepper:
    """Makes steps.

    Attributes:
        objective: what is minimised.
        prepared: its module, as accelerate wrapped it.
        optimizer: as accelerate wrapped it.
        accelerator: of the run.
        options: of the run.
        zeros: what is to stay zero.
        products: whose weight decay acts on them, and not on their factors.
        scales: the parameters of quantizers' scales, whose gradient is clipped apart: it is relative, and would fill the norm.
    """

    objective: Objective
    prepared: torch.nn.Module
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    options: TrainOptions
    zeros: KeptZeros
    products: ProductDecay
    scales: frozenset[torch.nn.Parameter] = frozenset()

    def step(self, parts: tuple[Part, ...], number: int, factor: float, stop: StopRequest) -> StepResult:
        """Make one step.

        Args:
            parts: the batches that are accumulated.
            number: how many steps were made before.
            factor: of the learning rate.
            stop: whether this process is asked to stop, also while the step is made.

        Raises:
            TrainingError: the loss or its gradient is not finite; weights are as before the step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.optimizer.zero_grad()
        micros = [self._backward(part, number, last=part is parts[-1]) for part in parts]
        names = list(micros[0].parts)
        sums = [torch.stack([micro.parts[name].float() for micro in micros]).sum() for name in names]
        total = torch.stack([micro.total.float() for micro in micros]).sum()
        asked = torch.tensor(float(stop.asked), device=total.device)
        means = mean_over_processes(torch.stack([total, asked, *sums]), self.accelerator)
        loss, any_asked, *own = cast("list[float]", means.tolist())
        if not math.isfinite(loss):
            raise self._not_finite(micros, number)
        self.zeros.still()
        self._clip(number)
        self._decay_products()
        self.optimizer.step()
        self.zeros.restore()
        return StepResult(loss, dict(zip(names, own, strict=True)), any_asked > 0)

    def _backward(self, part: Part, number: int, *, last: bool) -> _Micro:
        tensors = batch_tensors(part.batch, self.accelerator.device)
        generators = generator_states()
        with nullcontext() if last else self.accelerator.no_sync(self.prepared):
            with self.accelerator.autocast():
                loss = self.objective.loss(self.prepared, tensors, number)
            if not loss.total.requires_grad:
                raise TrainingError(
                    "The loss does not depend on any weight that is trained.",
                    place="loss",
                    remedy="Compute it from the outputs, with torch.",
                )
            total = loss.total if part.weight == 1.0 else loss.total * part.weight
            self.accelerator.backward(total)
        parts = {name: value.detach() * part.weight for name, value in loss.parts.items()}
        return _Micro(part.batch, tensors, generators, total.detach(), parts)

    def _clip(self, number: int) -> None:
        """Scale a long gradient down; one that is not finite would spoil every weight (with float16 it is expected, and skipped)."""
        parameters = [parameter for parameter in self.prepared.parameters() if parameter.grad is not None]
        weights = [parameter for parameter in parameters if parameter not in self.scales]
        scales = [parameter for parameter in parameters if parameter in self.scales]
        if self.options.clip is None:
            norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        else:
            norm = cast("torch.Tensor", self.accelerator.clip_grad_norm_(weights, self.options.clip))
            if scales:
                norm = norm + torch.nn.utils.clip_grad_norm_(scales, self.options.clip)
        norm = whole(norm)
        if self.accelerator.scaler is not None or bool(torch.isfinite(norm)):
            return
        names = [name for name, parameter in self.objective.module.named_parameters() if not _is_finite(parameter.grad)]
        raise TrainingError(
            f"At step {number} the loss is finite and its gradient is not, of {len(names)} weights: {', '.join(names[:4])}.",
            place=f"step {number}",
            remedy="Look for a square root or a division at zero in the loss or the model.",
        )

    def _decay_products(self) -> None:
        if not self.products.products:
            return
        if self.products.in_gradient and self.options.clip is None:
            self.accelerator.unscale_gradients()  # of float16; clipping has done so
        self.products.apply(self.optimizer.param_groups[0]["lr"])

    def _not_finite(self, micros: list[_Micro], number: int) -> TrainingError:
        failing = next((micro for micro in micros if not bool(torch.isfinite(micro.total))), None)
        if failing is None:
            return TrainingError(f"At step {number} the loss of another process is not finite.", place=f"step {number}")
        saved = Path(self.options.checkpoint or tempfile.mkdtemp(prefix="netwright-train-")) / f"not-finite-{number:08d}.npz"
        write_arrays(saved, failing.batch)
        return TrainingError(
            f"At step {number} the loss is {float(failing.total)}: {self._cause(failing, number)}.",
            place=f"step {number}",
            remedy=f"Try a lower lr or clip; the batch is in {saved}.",
        )

    def _cause(self, failing: _Micro, number: int) -> str:
        if self.options.shard:
            return "with split weights it cannot be traced to a node"
        set_generator_states(failing.generators)
        with self.accelerator.autocast():
            found = first_not_finite(self.objective, failing.tensors, number)
        return (
            "every value of the model is finite, and the loss is not" if found is None else f"the first value that is not finite is {found}"
        )


def batch_tensors(batch: Batch, device: torch.device) -> TorchBatch:
    """A batch on a device; text, which torch has no type for, is left out."""
    return {name: to_tensor(array).to(device) for name, array in batch.items() if array.dtype.kind not in "OSUT"}


def _is_finite(gradient: torch.Tensor | None) -> bool:
    return gradient is None or bool(torch.isfinite(whole(gradient)).all())
