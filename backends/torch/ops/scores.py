"""What models of `ai.onnx.ml` make of their raw scores."""

from __future__ import annotations

from typing import cast

import torch

_TINY = 1e-7
"""Scores nearer to zero than this count as zero in SOFTMAX_ZERO."""


def transformed(scores: torch.Tensor, how: str) -> torch.Tensor:
    """Scores after `NONE`, `SOFTMAX`, `LOGISTIC`, `SOFTMAX_ZERO` (softmax in which zeros stay zeros) or `PROBIT`.

    Args:
        scores: [batch, classes].
        how: see above.
    """
    if how == "SOFTMAX":
        return torch.softmax(scores, dim=-1)
    if how == "LOGISTIC":
        return torch.sigmoid(scores)
    if how == "PROBIT":
        return cast("torch.Tensor", torch.special.ndtri(scores))
    if how == "SOFTMAX_ZERO":
        counted = torch.where(torch.abs(scores) > _TINY, scores, -torch.inf)
        return torch.where(torch.isinf(counted), 0.0, torch.softmax(counted, dim=-1))
    return scores
