"""Losses that stand in a graph."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from netwright.backends.torch.table import torch_op

_NOTHING = -100
"""A label that is ignored where no other is named; it can be no class."""


@torch_op("NegativeLogLikelihoodLoss", frozen=("weight",))
def negative_log_likelihood_loss(
    x: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None, *, ignore_index: int = _NOTHING, reduction: str = "mean"
) -> torch.Tensor:
    """-weight[target] · x[target].

    Args:
        x: log-probabilities, [batch, classes, ...].
        target: classes, [batch, ...].
        weight: of the classes, 1 by default.
        ignore_index: a label whose loss is 0.
        reduction: `none`, `sum`, or `mean`: the sum divided by the sum of the weights.
    """
    classes = target.to(torch.int64)
    if weight is not None and weight.requires_grad:
        return _by_differentiable_weights(x, classes, weight, ignore_index, reduction)
    return F.nll_loss(x, classes, weight, ignore_index=ignore_index, reduction=reduction)


@torch_op("SoftmaxCrossEntropyLoss", frozen=("weights",))
def softmax_cross_entropy_loss(
    scores: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor | None = None,
    *,
    ignore_index: int = _NOTHING,
    reduction: str = "mean",
    wanted: tuple[bool, ...] = (True, True),
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The loss of `negative_log_likelihood_loss` on log softmax(scores) along axis 1, and if wanted those log-probabilities."""
    if not (len(wanted) > 1 and wanted[1]) and not (weights is not None and weights.requires_grad):
        classes = labels.to(torch.int64)
        return F.cross_entropy(scores, classes, weights, ignore_index=ignore_index, reduction=reduction), None
    log_probabilities = torch.log_softmax(scores, dim=1)
    loss = negative_log_likelihood_loss(log_probabilities, labels, weights, ignore_index=ignore_index, reduction=reduction)
    return loss, log_probabilities


def _by_differentiable_weights(
    x: torch.Tensor, classes: torch.Tensor, weight: torch.Tensor, ignore_index: int, reduction: str
) -> torch.Tensor:
    """The loss in steps: torch's own has no gradient for the weights."""
    counted = classes != ignore_index
    known = torch.where(counted, classes, 0)
    share = torch.where(counted, weight[known], 0.0)
    losses = -share * torch.gather(x, 1, known.unsqueeze(1)).squeeze(1)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / share.sum()
