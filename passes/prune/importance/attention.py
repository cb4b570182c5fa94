"""Heads by their query, key and value vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.coupling.group import Group
from netwright.passes.prune.importance.heads import Projection
from netwright.passes.statistics import Moments

if TYPE_CHECKING:
    from netwright.passes.prune.importance.evidence import Evidence


def heads_by_qkv(group: Group, evidence: Evidence) -> np.ndarray | str:
    """S_vo / mean + S_qk / mean, of S_qk = |W_q W_kᵀ| over a unit's query heads and S_vo = |W_v W_o| likewise (Frobenius norms).

    S_qk says how sharply a head can choose, S_vo how much it can write. Both come from Grams of d × d, d the features of a head:
    |W_q W_kᵀ|² = Σ (W_qᵀW_q ∘ W_kᵀW_k). The query's bias counts as one more input that is always 1. The key's does not: it adds the same
    to all logits of a row, which softmax takes away. With calibration data inputs are weighed by their second moments (W_qᵀ C W_q instead
    of W_qᵀ W_q), and the key's by their covariance, for the same reason: then S_qk² is the variance of a row's logits.
    """
    if group.kind != "heads":
        return f"its units are {group.kind}, and queries, keys and values are those of heads"
    known = [found for found in evidence.attentions() if _unit_of(group, found.query) is not None]
    if not known:
        return "no product of queries and keys from its weights was found"
    spread = np.zeros(group.size)
    written = np.zeros(group.size)
    for one in known:
        if one.value is None or one.output is None:
            return "its values do not reach a layer with a constant weight"
        units = _unit_of(group, one.query)
        assert units is not None, "known by its queries"
        (query, queries), (key, keys), (value, values) = one.query, one.key, one.value
        consumed, places = one.output
        for head in range(len(queries)):
            asked = _gram(query, queries[head], evidence.inputs_of(query), bias=True)
            offered = _gram(key, keys[head], evidence.inputs_of(key), bias=False)
            held = _gram(value, values[head], evidence.inputs_of(value), bias=True)
            own = consumed[:, _where(places, head, values.shape[1])]
            spread[units[head]] += (asked * offered).sum()
            written[units[head]] += (held * (own.T @ own)).sum()
    return _relative(spread) + _relative(written)


def _relative(squares: np.ndarray) -> np.ndarray:
    """Square roots, divided by their mean."""
    norms = np.sqrt(np.maximum(squares, 0.0))
    return norms / (norms.mean() or 1.0)


def _gram(projection: Projection, channels: np.ndarray, inputs: Moments | None, *, bias: bool) -> np.ndarray:
    """W C Wᵀ over the given channels, W: [features, inputs], with the bias as one more input, or C centred and without it."""
    rows, offset = projection.matrix[channels], projection.bias[channels]
    if inputs is None:
        return rows @ rows.T + (np.outer(offset, offset) if bias else 0.0)
    if not bias:
        return rows @ inputs.covariance() @ rows.T
    mean = rows @ inputs.mean + offset
    return rows @ inputs.covariance() @ rows.T + np.outer(mean, mean)


def _unit_of(group: Group, projected: tuple[Projection, np.ndarray]) -> np.ndarray | None:
    """The unit of each query head, from its first channel; None where the group does not hold that weight."""
    projection, channels = projected
    part = next((part for part in group.slices if part.weight == projection.weight and part.role == "out"), None)
    if part is None:
        return None
    units = part.units[channels[:, 0]]
    return units if (units >= 0).all() else None


def _where(places: np.ndarray, head: int, features: int) -> np.ndarray:
    """The output's channels that are features of this head, in the order of features."""
    own = np.flatnonzero(places // features == head)
    return own[np.argsort(places[own] % features, kind="stable")]
