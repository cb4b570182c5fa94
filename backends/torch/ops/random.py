"""Random draws.

They come from torch's own generator, so that `torch.manual_seed` decides them. A `seed` at a node makes each run draw the same, in a
generator of its own, which `torch.compile` does not trace; a Dropout's is not used, for it would drop the same elements at each step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from netwright.backends.torch.table import torch_op


@torch_op("Dropout", host=("ratio", "training_mode"))
def dropout(
    data: torch.Tensor,
    ratio: float | Sequence[float] | None = None,
    training_mode: bool | Sequence[bool] | None = None,
    *,
    seed: int | None = None,
    training: bool = False,
    wanted: tuple[bool, ...] = (True, True),
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Elements set to zero at random and the others scaled to keep the mean, with the mask of those kept (Hinton et al., arXiv 1207.0580).

    Args:
        data: of any shape.
        ratio: the probability of zero, 0.5 by default.
        training_mode: whether this node drops at all.
        seed: not used; see the module's docstring.
        training: the module's flag: only then is anything dropped.
        wanted: the mask is made only if wanted.
    """
    probability = 0.5 if ratio is None else float(_single(ratio))
    drops = training and training_mode is not None and bool(_single(training_mode))
    if not (len(wanted) > 1 and wanted[1]):
        return F.dropout(data, probability, training=drops), None
    if not drops:
        return data, torch.ones_like(data, dtype=torch.bool)
    return torch.native_dropout(data, probability, True)


@torch_op("RandomNormal", dtypes=("dtype",))
def random_normal(
    *,
    device: torch.device,
    shape: Sequence[int],
    dtype: torch.dtype | None = torch.float32,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> torch.Tensor:
    """Draws from a normal distribution."""
    return mean + scale * torch.randn(tuple(shape), dtype=dtype, device=device, generator=_generator(seed, device))


@torch_op("RandomUniform", dtypes=("dtype",))
def random_uniform(
    *,
    device: torch.device,
    shape: Sequence[int],
    dtype: torch.dtype | None = torch.float32,
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,
) -> torch.Tensor:
    """Draws from [low, high)."""
    return low + (high - low) * torch.rand(tuple(shape), dtype=dtype, device=device, generator=_generator(seed, device))


@torch_op("RandomNormalLike", dtypes=("dtype",))
def random_normal_like(
    x: torch.Tensor, *, dtype: torch.dtype | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> torch.Tensor:
    """Draws from a normal distribution, in the shape of `x`."""
    return random_normal(device=x.device, shape=x.shape, dtype=dtype or x.dtype, mean=mean, scale=scale, seed=seed)


@torch_op("RandomUniformLike", dtypes=("dtype",))
def random_uniform_like(
    x: torch.Tensor, *, dtype: torch.dtype | None = None, high: float = 1.0, low: float = 0.0, seed: float | None = None
) -> torch.Tensor:
    """Draws from [low, high), in the shape of `x`."""
    return random_uniform(device=x.device, shape=x.shape, dtype=dtype or x.dtype, high=high, low=low, seed=seed)


@torch_op("Bernoulli", dtypes=("dtype",))
def bernoulli(x: torch.Tensor, *, dtype: torch.dtype | None = None, seed: float | None = None) -> torch.Tensor:
    """1 with probability x, else 0."""
    return torch.bernoulli(x, generator=_generator(seed, x.device)).to(dtype or x.dtype)


@torch_op("Multinomial", dtypes=("dtype",))
def multinomial(
    x: torch.Tensor, *, dtype: torch.dtype | None = torch.int32, sample_size: int = 1, seed: float | None = None
) -> torch.Tensor:
    """Classes drawn with replacement: [batch, sample_size] for unnormalised log-probabilities [batch, classes]."""
    drawn = torch.multinomial(torch.softmax(x, dim=-1), sample_size, replacement=True, generator=_generator(seed, x.device))
    return drawn.to(dtype or torch.int32)


def _generator(seed: float | None, device: torch.device) -> torch.Generator | None:
    return None if seed is None else torch.Generator(device=device).manual_seed(int(seed))


def _single(value: float | Sequence[float]) -> float:
    return value[0] if isinstance(value, Sequence) else value
