"""Control flow at run time: plain Python around the modules of subgraphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch

Branch = Callable[..., "tuple[torch.Tensor, ...]"]
"""The module of a subgraph: its inputs, then what it captures → its outputs."""


def branch(
    condition: torch.Tensor | bool, then: Branch, otherwise: Branch, then_args: Sequence[object], else_args: Sequence[object]
) -> tuple[torch.Tensor, ...]:
    """The outputs of one of two subgraphs."""
    return then(*then_args) if _holds(condition) else otherwise(*else_args)


def loop(
    trips: torch.Tensor | int | None,
    condition: torch.Tensor | bool | None,
    states: Sequence[object],
    body: Branch,
    captured: Sequence[object],
    scanned: Sequence[tuple[torch.dtype, tuple[int, ...]]],
    device: torch.device,
) -> tuple[object, ...]:
    """ONNX's Loop: the body again and again, until it says no or the trips are used up.

    Args:
        trips: how often at most; None for no limit.
        condition: whether to begin; None for yes.
        states: what the body hands on from trip to trip.
        body: (trip, condition, *states, *captured) → (condition, *states, *scan outputs of this trip).
        captured: what the body takes from around it.
        scanned: type and shape of each scan output, for a loop that never runs.
        device: of tensors made here.

    Returns:
        The last states, then the scan outputs stacked along a new first axis.
    """
    limit = None if trips is None else int(trips)
    goes_on = condition is None or _holds(condition)
    values = list(states)
    rows: list[list[torch.Tensor]] = [[] for _ in scanned]
    trip = 0
    while goes_on and (limit is None or trip < limit):
        going = torch.tensor(True, device=device)
        again, *made = body(torch.tensor(trip, device=device), going, *values, *captured)
        values = made[: len(values)]
        for row, part in zip(rows, made[len(values) :], strict=True):
            row.append(part)
        goes_on = _holds(again)
        trip += 1
    stacked = [
        torch.stack(row) if row else torch.empty((0, *shape), dtype=dtype, device=device)
        for row, (dtype, shape) in zip(rows, scanned, strict=True)
    ]
    return (*values, *stacked)


def _holds(condition: torch.Tensor | bool | Sequence[bool]) -> bool:
    return bool(condition[0]) if isinstance(condition, list) else bool(condition)


def scan(
    states: Sequence[torch.Tensor],
    inputs: Sequence[torch.Tensor],
    body: Branch,
    captured: Sequence[object],
    *,
    input_axes: Sequence[int],
    input_directions: Sequence[int],
    output_axes: Sequence[int],
    output_directions: Sequence[int],
) -> tuple[torch.Tensor, ...]:
    """ONNX's Scan: the body for each slice of the inputs along their axes.

    Returns:
        The last states, then the scan outputs stacked along their axes.
    """
    length = inputs[0].shape[input_axes[0]]
    values: list[torch.Tensor] = list(states)
    rows: list[list[torch.Tensor]] = [[] for _ in output_axes]
    for step in range(length):
        slices = [
            part.select(axis, length - 1 - step if backward else step)
            for part, axis, backward in zip(inputs, input_axes, input_directions, strict=True)
        ]
        made = body(*values, *slices, *captured)
        values = list(made[: len(values)])
        for row, part in zip(rows, made[len(values) :], strict=True):
            row.append(part)
    stacked = [
        torch.stack(row[::-1] if backward else row, dim=axis)
        for row, axis, backward in zip(rows, output_axes, output_directions, strict=True)
    ]
    return (*values, *stacked)


def sequence_map(values: Sequence[object], body: Branch, captured: Sequence[object]) -> tuple[list[torch.Tensor], ...]:
    """ONNX's SequenceMap: the body for each element of the first sequence, beside those of the others; tensors go to each."""
    first = values[0]
    assert isinstance(first, list), "the first input is a sequence"
    made = [
        body(*(value[place] if isinstance(value, list) else value for value in values), *captured)
        for place in range(len(cast("list[object]", first)))
    ]
    return tuple(list(column) for column in zip(*made, strict=True))


def flex_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    score_mod: Branch | None,
    score_captured: Sequence[object],
    prob_mod: Branch | None,
    prob_captured: Sequence[object],
    *,
    scale: float | None,
    precision: torch.dtype | None,
) -> torch.Tensor:
    """Attention whose scores, and the probabilities made of them, pass through functions.

    Args:
        query: [batch, heads, length, width].
        key: [batch, groups, keys, width]; each group serves heads / groups heads side by side.
        value: [batch, groups, keys, value width].
        score_mod: what scores [batch, heads, length, keys] pass through.
        score_captured: what it takes besides.
        prob_mod: what probabilities pass through.
        prob_captured: what it takes besides.
        scale: of the scores; 1/√width where not given.
        precision: of scores and softmax; float32 where not given, or float64 for that.
    """
    repeats = query.shape[1] // key.shape[1]
    keys, values = (part.repeat_interleave(repeats, dim=1) if repeats > 1 else part for part in (key, value))
    wide = precision or (torch.float64 if query.dtype == torch.float64 else torch.float32)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = query.to(wide) @ keys.to(wide).transpose(-1, -2) * factor
    if score_mod is not None:
        (scores,) = score_mod(scores, *score_captured)
    weights = scores.softmax(-1)
    if prob_mod is not None:
        (weights,) = prob_mod(weights, *prob_captured)
    return (weights.to(wide) @ values.to(wide)).to(query.dtype)
