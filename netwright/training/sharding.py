"""Weights split over processes (FSDP), and whole again for results and checkpoints."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(module: torch.nn.Module, device: torch.device, count: int) -> None:
    """Split a module's parameters over all processes, in place; they are gathered for each run of the module.

    What is saved is the memory of gradients and of the optimizer's state (PyTorch's `fully_shard`, FSDP2, with the module as one unit).
    """
    fully_shard(module.to(device), mesh=init_device_mesh(device.type, (count,)))


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor that may be split; every process must ask at the same time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@contextmanager
def whole_parameters(module: torch.nn.Module) -> Generator[None]:
    """Put whole parameters in the place of split ones for a while; every process must do so at the same time."""
    split = {name: parameter for name, parameter in module.named_parameters() if isinstance(parameter, DTensor)}
    try:
        for name, parameter in split.items():
            _put(module, name, torch.nn.Parameter(whole(parameter).detach(), parameter.requires_grad))
        yield
    finally:
        for name, parameter in split.items():
            _put(module, name, parameter)


def make_whole(module: torch.nn.Module) -> None:
    """Put whole parameters in the place of split ones for good; the module is no longer to be run."""
    for name, parameter in list(module.named_parameters()):
        if isinstance(parameter, DTensor):
            _put(module, name, torch.nn.Parameter(whole(parameter).detach(), parameter.requires_grad))


@torch.no_grad()
def set_tensors(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give whole parameters and buffers new contents (`load_state_dict` wants split ones where they once were split)."""
    for name, held in module.state_dict().items():
        held.copy_(tensors[name])


def split_state(state: Mapping[str, object], optimizer: torch.optim.Optimizer) -> dict[str, object]:
    """An optimizer's state of whole tensors, its tensors split as the parameters are that they belong to."""
    parameters = [parameter for group in optimizer.param_groups for parameter in cast("list[torch.nn.Parameter]", group["params"])]
    entries = cast("dict[int, dict[str, object]]", state["state"])
    split = {
        index: {name: split_like(value, parameters[index]) if isinstance(value, torch.Tensor) else value for name, value in entry.items()}
        for index, entry in entries.items()
    }
    return {**state, "state": split}


def split_like(tensor: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A whole tensor, split as a parameter of the same shape is; as it is where that is whole, or has another shape."""
    if isinstance(parameter, DTensor) and tensor.shape == parameter.shape:
        mesh = parameter.device_mesh
        return distribute_tensor(tensor.to(mesh.device_type), mesh, parameter.placements)
    return tensor


def _put(module: torch.nn.Module, name: str, parameter: torch.nn.Parameter) -> None:
    path, _, last = name.rpartition(".")
    module.get_submodule(path).register_parameter(last, parameter)
