"""Normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F

from netwright.backends.torch.ops.elements import p_norm
from netwright.backends.torch.table import torch_op

OneOrAll: TypeAlias = "torch.Tensor | tuple[torch.Tensor, torch.Tensor, torch.Tensor]"
"""The first output alone where nobody reads the others."""


@torch_op("BatchNormalization", frozen=("mean", "var"))
def batch_norm(
    x: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    mean: torch.Tensor,
    var: torch.Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    wanted: tuple[bool, ...] = (True,),
) -> OneOrAll:
    """(x - mean) / √(var + ε) · scale + bias, channel by channel (Ioffe & Szegedy, arXiv 1502.03167).

    With `training_mode`, mean and variance are the batch's, and the running ones come out new:
    running · momentum + batch's · (1 - momentum), the variance being the population's.
    """
    if not training_mode:
        return F.batch_norm(x, mean, var, scale, bias, False, 0.0, epsilon)
    y = torch.batch_norm(x, scale, bias, None, None, True, 0.0, epsilon, False)
    if not any(wanted[1:]):
        return y
    batch_var, batch_mean = torch.var_mean(x, dim=[axis for axis in range(x.ndim) if axis != 1], correction=0)
    return y, torch.lerp(batch_mean.to(mean.dtype), mean, momentum), torch.lerp(batch_var.to(var.dtype), var, momentum)


@torch_op("BatchNormalization", domain="netwright.training", frozen=("mean", "var"))
def batch_norm_trained(
    x: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    mean: torch.Tensor,
    var: torch.Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    training: bool = True,
    wanted: tuple[bool, ...] = (True,),
) -> OneOrAll:
    """Batch normalization as `torch.nn.BatchNorm2d` does it: while training, with the batch's statistics.

    The running ones are then updated in place; their variance is the unbiased one, as torch has it.

    Args:
        x: [batch, channels, *sizes].
        scale: [channels].
        bias: [channels].
        mean: [channels], a buffer.
        var: [channels], a buffer.
        epsilon: added to the variance.
        momentum: ONNX's, the share that the running statistics keep: 1 - torch's.
        training_mode: the node's; `training` decides.
        training: the module's flag.
        wanted: which outputs are read.
    """
    y = F.batch_norm(x, mean, var, scale, bias, training, 1 - momentum, epsilon)
    return (y, mean.clone(), var.clone()) if any(wanted[1:]) else y


@torch_op("InstanceNormalization")
def instance_norm(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, *, epsilon: float = 1e-5) -> torch.Tensor:
    """Each channel of each sample with its own mean and variance (Ulyanov et al., arXiv 1607.08022)."""
    return torch.instance_norm(x, scale, bias, None, None, True, 0.0, epsilon, False)


@torch_op("LayerNormalization", since=17, dtypes=("stash_type",))
def layer_norm(
    x: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: torch.dtype | None = torch.float32,
    wanted: tuple[bool, ...] = (True,),
) -> OneOrAll:
    """(x - mean) / √(var + ε) · scale + bias over the axes from `axis` on (Ba et al., arXiv 1607.06450).

    Mean and 1 / √(var + ε) come in `stash_type`. torch computes the first step in float32 or wider whatever the input is.
    """
    shape = x.shape[axis:]
    if any(wanted[1:]):
        normal, mean, inverse = torch.native_layer_norm(x, shape, None, None, epsilon)
        scaled = normal * scale
        return scaled if bias is None else scaled + bias, mean.to(stash_type), inverse.to(stash_type)
    if scale.shape == shape and (bias is None or bias.shape == shape):
        return F.layer_norm(x, shape, scale, bias, epsilon)
    scaled = F.layer_norm(x, shape, None, None, epsilon) * scale
    return scaled if bias is None else scaled + bias


@torch_op("RMSNormalization", since=23, dtypes=("stash_type",))
def rms_norm(
    x: torch.Tensor, scale: torch.Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: torch.dtype | None = torch.float32
) -> torch.Tensor:
    """The axes from `axis` on divided by their root mean square: x / √(mean(x²) + ε) · scale (arXiv 1910.07467).

    torch computes the first step in float32 or wider whatever the input is. The result has the type of `scale`.
    """
    shape = x.shape[axis:]
    if scale.shape == shape and scale.dtype == x.dtype:
        return F.rms_norm(x, list(shape), scale, epsilon)
    return F.rms_norm(x, list(shape), None, epsilon).to(scale.dtype) * scale


@torch_op("GroupNormalization", since=21, dtypes=("stash_type",))
def group_norm(
    x: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: torch.dtype | None = torch.float32,
) -> torch.Tensor:
    """Each group of channels with its own mean and variance (Wu & He, arXiv 1803.08494); a scale and bias for each channel.

    torch computes the first step in float32 or wider whatever the input is.
    """
    return F.group_norm(x, num_groups, scale, bias, epsilon)


@torch_op("GroupNormalization", since=18)
def group_norm_by_group(
    x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, *, num_groups: int, epsilon: float = 1e-5
) -> torch.Tensor:
    """Group normalization as opsets 18 to 20 have it: a scale and bias for each group."""
    channels = x.shape[1] // num_groups
    return F.group_norm(x, num_groups, scale.repeat_interleave(channels), bias.repeat_interleave(channels), epsilon)


@torch_op("LRN")
def local_response_norm(x: torch.Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> torch.Tensor:
    """Each channel subdued by its neighbours: x / (bias + α / size · Σ x²)^β, the sum over `size` neighbouring channels."""
    if size % 2:
        return F.local_response_norm(x, size, alpha, beta, bias)
    before = (size - 1) // 2
    padded = F.pad(x.square(), [0, 0] * (x.ndim - 2) + [before, size - 1 - before])
    return x / (padded.unfold(1, size, 1).sum(-1) * (alpha / size) + bias).pow(beta)


@torch_op("LpNormalization")
def lp_normalize(x: torch.Tensor, *, axis: int = -1, p: int = 2) -> torch.Tensor:
    """The tensor divided by its p-norm along an axis; zeros stay zeros."""
    norm = p_norm(x, p, [axis])
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)


@torch_op("MeanVarianceNormalization")
def mean_variance_normalize(x: torch.Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> torch.Tensor:
    """(x - mean) / (σ + 1e-9) over axes, σ being the population's."""
    var, mean = torch.var_mean(x, dim=list(axes), correction=0, keepdim=True)
    return (x - mean) / (var.sqrt() + 1e-9)
