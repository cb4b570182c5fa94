"""Products of matrices, and determinants."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F

from netwright.backends.torch.ops.wide import WIDE, by_value, widened
from netwright.backends.torch.table import torch_op


@torch_op("MatMul")
def matmul(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`x · y` over the last axis of `x` and the last but one of `y`; axes before those broadcast."""
    return by_value(torch.matmul, x, y) if x.dtype in WIDE else torch.matmul(x, y)


@torch_op("Gemm")
def gemm(
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> torch.Tensor:
    """α · A · B + β · C; A: [m, k], B: [k, n], each may come transposed; C broadcasts to [m, n]."""
    left = a.t() if transA else a
    if alpha == 1.0 and transB and (c is None or (beta == 1.0 and c.ndim == 1)) and a.is_floating_point():
        return F.linear(left, b, c)
    right = b.t() if transB else b
    if a.is_floating_point() and c is not None:
        return torch.addmm(c, left, right, beta=beta, alpha=alpha)
    if a.dtype in WIDE:
        left, right, c = left.to(torch.int64), right.to(torch.int64), None if c is None else c.to(torch.int64)
    product = _scaled(torch.matmul(left, right), alpha)
    return (product if c is None else product + _scaled(c, beta)).to(a.dtype)


@torch_op("Einsum")
def einsum(*operands: torch.Tensor, equation: str) -> torch.Tensor:
    """Sums of products by Einstein's convention."""
    if operands[0].dtype in WIDE:
        return torch.einsum(equation, *(widened(operand) for operand in operands)).to(operands[0].dtype)
    return torch.einsum(equation, *operands)


@torch_op("Det")
def determinant(x: torch.Tensor) -> torch.Tensor:
    """Determinants of square matrices: [..., n, n] to [...]."""
    wide = x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float32)
    return cast("torch.Tensor", torch.linalg.det(wide)).to(x.dtype)


def _scaled(x: torch.Tensor, factor: float) -> torch.Tensor:
    return x if factor == 1.0 else x * factor
