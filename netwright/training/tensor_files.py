"""Tensors in safetensors files; nothing is pickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors import torch as files

_save = cast("Callable[[dict[str, torch.Tensor], str], None]", files.save_file)
_load = cast("Callable[[str], dict[str, torch.Tensor]]", files.load_file)


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors, from any device; ones that share memory are written each on its own.

    Raises:
        OSError: the file cannot be written.
    """
    seen: set[int] = set()
    plain: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        held = tensor.detach().cpu().contiguous()
        place = held.untyped_storage().data_ptr()
        plain[name] = held.clone() if place in seen else held
        seen.add(place)
    _save(plain, str(path))


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors, onto the CPU.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged.
    """
    try:
        return _load(str(path))
    except SafetensorError as error:
        raise ValueError(str(error)) from error
