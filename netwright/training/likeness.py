"""How unlike two values are: soft targets, hidden states, attention scores. Each a scalar, a mean over rows."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.training.losses import Scale

OutputKind: TypeAlias = Literal["soft", "mse", "cosine"]

MASKED = -100.0
"""Scores from here down are masks (TernaryBERT, arXiv 2009.12812): they count as 0 on both sides."""


def soft_targets(student: Tensor, teacher: Tensor, *, temperature: float = 1.0, scale: Scale = "logits", binary: bool = False) -> Tensor:
    """`T² KL(p_teacher ‖ p_student)` with p = softmax(logits / T) over the last axis (Hinton et al., arXiv 1503.02531).

    Its gradient is that of the cross-entropy with soft targets; its least value is 0.

    Args:
        student: logits, or what `scale` says [..., classes].
        teacher: likewise.
        temperature: T.
        scale: what the numbers are; of probabilities the logarithm is taken, log-probabilities are logits.
        binary: each number is a probability (or logit) of its own, as after Sigmoid.
    """
    ours, theirs = (_logits(side, scale, binary) / temperature for side in (student, teacher))
    if binary:
        divergence = _bernoulli(theirs, ours).sum() / max(theirs.shape[0], 1) if theirs.dim() else _bernoulli(theirs, ours)
        return divergence * temperature**2
    log_p, log_q = F.log_softmax(theirs, -1), F.log_softmax(ours, -1)
    rows = max(log_p.numel() // max(log_p.shape[-1], 1), 1)
    return F.kl_div(log_q, log_p, reduction="sum", log_target=True) / rows * temperature**2


def squared(student: Tensor, teacher: Tensor, *, normalise: bool = False) -> Tensor:
    """Mean squared difference; in units of the teacher's mean square, so that layers of any magnitude count alike."""
    target = teacher.to(student.dtype)
    difference = F.mse_loss(student, target)
    return difference / target.square().mean().clamp_min(1e-8) if normalise else difference


def unaligned(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus the mean cosine of the rows' last axes."""
    return 1 - F.cosine_similarity(student, teacher.to(student.dtype), dim=-1).mean()


def scores_apart(student: Tensor, teacher: Tensor, *, normalise: bool = False) -> Tensor:
    """Mean squared difference of attention scores; masked ones are 0 on both sides."""
    return squared(unmasked(student), unmasked(teacher), normalise=normalise)


def unmasked(scores: Tensor) -> Tensor:
    """Scores with 0 for what a mask has pushed down; infinities too."""
    return torch.where(scores <= MASKED, torch.zeros_like(scores), scores)


def _logits(values: Tensor, scale: Scale, binary: bool) -> Tensor:
    floats = values if values.dtype == torch.float64 else values.float()
    if scale != "probabilities":
        return floats
    tiny = torch.finfo(floats.dtype).eps
    if binary:
        return torch.logit(floats, eps=tiny)
    return floats.clamp_min(torch.finfo(floats.dtype).tiny).log()


def _bernoulli(theirs: Tensor, ours: Tensor) -> Tensor:
    """KL of independent coins, by element."""
    p = torch.sigmoid(theirs)
    cross = F.binary_cross_entropy_with_logits(ours, p, reduction="none")
    own = F.binary_cross_entropy_with_logits(theirs, p, reduction="none")
    return cross - own
