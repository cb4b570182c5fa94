"""Tensors made out of numbers, and triangles of matrices."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir
import torch

from netwright.backends.torch.ops.wide import by_bits
from netwright.backends.torch.table import torch_op


@torch_op("Range", host=("start", "limit", "delta"))
def arange(
    start: float | Sequence[float],
    limit: float | Sequence[float],
    delta: float | Sequence[float],
    *,
    device: torch.device,
    stash_type: int = int(onnx_ir.DataType.FLOAT),
    result: torch.dtype | None = None,
) -> torch.Tensor:
    """`start`, `start + delta`, … to before `limit`.

    Args:
        start: a number, or a list of one.
        limit: as `start`.
        delta: as `start`.
        device: where the tensor is made.
        stash_type: in which type FLOAT16 and BFLOAT16 are computed: float32 (1) or their own.
        result: type of the numbers, which Python's do not know; without it INT64, or FLOAT for floats.
    """
    numbers = [one[0] if isinstance(one, Sequence) else one for one in (start, limit, delta)]
    half = result in (torch.float16, torch.bfloat16) and stash_type
    return torch.arange(*numbers, device=device, dtype=torch.float32 if half else result).to(result)


@torch_op("ConstantOfShape", host=("shape",))
def constant_of_shape(shape: int | Sequence[int], *, value: torch.Tensor | None = None, device: torch.device) -> torch.Tensor:
    """A tensor filled with one value, float 0 by default; elements share memory."""
    sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    return torch.zeros(sizes, device=device) if value is None else value.reshape(()).expand(sizes)


@torch_op("EyeLike", dtypes=("dtype",))
def eye_like(x: torch.Tensor, *, dtype: torch.dtype | None = None, k: int = 0) -> torch.Tensor:
    """1 on the k-th diagonal above the main one, 0 elsewhere; [rows, columns] of `x`."""
    rows = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    columns = torch.arange(x.shape[1], device=x.device)
    return (columns - rows == k).to(dtype or x.dtype)


@torch_op("Trilu", host=("k",), moves=("x",))
def triangle(x: torch.Tensor, k: int | Sequence[int] = 0, *, upper: int = 1) -> torch.Tensor:
    """The matrices' elements on the k-th diagonal and above it (`upper`) or below it; 0 elsewhere."""
    diagonal = k[0] if isinstance(k, Sequence) else k
    return by_bits(torch.triu if upper else torch.tril, x, diagonal=diagonal)
