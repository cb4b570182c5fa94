"""accelerate, for one run: one process or several, CPU or GPU, mixed precision; what it keeps for the whole process is reset."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import DistributedDataParallelKwargs

from netwright.training.errors import TrainingError
from netwright.training.options import TrainOptions
from netwright.training.sampling import Share

_PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


@contextmanager
def accelerated(options: TrainOptions) -> Generator[Accelerator]:
    """An accelerator for one run.

    Started with `torchrun --nproc_per_node N` there are N processes, on GPUs where there are any and else on the CPU (gloo);
    started plainly there is one.

    Raises:
        TrainingError: the environment speaks of several processes and accelerate sees another number; float16 without a GPU.
    """
    on_cpu = options.device == "cpu" or not _has_gpu()
    if on_cpu and options.precision == "float16":
        raise TrainingError("float16 needs a GPU.", place="precision", remedy="Give precision='bfloat16' or 'float32'.")
    _reset()
    try:
        accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision=_PRECISIONS[options.precision],
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        expected = int(os.environ.get("WORLD_SIZE", "1"))
        if accelerator.num_processes != expected:
            raise TrainingError(
                f"{expected} processes were started, and each sees {accelerator.num_processes}.",
                place="WORLD_SIZE",
                remedy="Start them with torchrun --nproc_per_node N.",
            )
        yield accelerator
    finally:
        _reset()


def share_of(accelerator: Accelerator) -> Share:
    """Which process this is, of how many."""
    return Share(accelerator.process_index, accelerator.num_processes)


def mean_over_processes(values: torch.Tensor, accelerator: Accelerator) -> torch.Tensor:
    """The mean of each process's values: the same in all."""
    if accelerator.num_processes == 1:
        return values
    torch.distributed.all_reduce(values)
    return values / accelerator.num_processes


def from_main_process(value: float, accelerator: Accelerator) -> float:
    """The main process's number, in every process."""
    if accelerator.num_processes == 1:
        return value
    held = torch.tensor([value], dtype=torch.float64, device=accelerator.device)
    torch.distributed.broadcast(held, 0)
    return float(held)


def from_all_processes(tensor: torch.Tensor, accelerator: Accelerator) -> list[torch.Tensor]:
    """Every process's tensor, in order; all of one shape."""
    if accelerator.num_processes == 1:
        return [tensor]
    held = tensor.to(accelerator.device)
    found = [torch.empty_like(held) for _ in range(accelerator.num_processes)]
    torch.distributed.all_gather(found, held)
    return [one.cpu() for one in found]


def _has_gpu() -> bool:
    """Apple's GPU is left out: too many operators are missing there."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return device is not None and device.type != "mps"


def _reset() -> None:
    """Forget earlier runs: accelerate keeps device, precision and accumulation for the whole process."""
    AcceleratorState._reset_state()  # pyright: ignore[reportPrivateUsage]
    PartialState._reset_state()  # pyright: ignore[reportPrivateUsage]
    GradientState._reset_state()  # pyright: ignore[reportPrivateUsage]
