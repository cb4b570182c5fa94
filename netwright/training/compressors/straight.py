"""The straight-through estimator: a rounded value forward, the latent one's gradient backward (Bengio et al., arXiv 1308.3432)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, latent: Tensor, value: Tensor, inside: Tensor | None) -> Tensor:
        del latent
        if inside is not None:
            ctx.save_for_backward(inside)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = grads
        saved = cast("tuple[Tensor, ...]", ctx.saved_tensors)  # pyright: ignore[reportAttributeAccessIssue]
        return (grad * saved[0] if saved else grad), None, None


def straight_through(latent: Tensor, value: Tensor, inside: Tensor | None = None) -> Tensor:
    """`value`, bit for bit, whose gradient goes to `latent` unchanged.

    Args:
        latent: what is trained.
        value: what it is compressed to, of the same shape.
        inside: where the gradient passes (boolean); everywhere where not given. Outside of the clip it does not.
    """
    return cast("Tensor", _StraightThrough.apply(latent, value.detach(), inside))  # pyright: ignore[reportUnknownMemberType]
