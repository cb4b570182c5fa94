"""Rows that are switched together: channels that rest together, put side by side.

Where a chip switches rows in groups, a group rests only when all its inputs are 0. Rows of a product are channels that another product
made; with the columns of that one in another order, channels that are often zero together fall into one group of the readers' rows.
Nothing is moved for that: the order goes into the one's columns and the others' rows. Source: US 12,288,142 B2 (resequencing by the
input's sparsity).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.backends.cim import ops
from netwright.backends.cim.arch.model import Arch, Granularity
from netwright.backends.cim.coding.masks import BY_VALUE
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.coding.slicing import digits_of
from netwright.backends.cim.sparsity.following import follow
from netwright.backends.cim.sparsity.rebuilding import Target
from netwright.backends.cim.sparsity.sequencing import alike
from netwright.backends.cim.sparsity.zeros import zeros
from netwright.ir.program import array
from netwright.ir.shapes import static_shape

SEEN = 1 << 13
"""Vectors of channels that are looked at, drawn from all that readers read."""

LEAST = 0.005
"""Share of the readers' rows that an order must let rest in addition."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """A product's columns in an order that suits the groups of those that read them.

    Attributes:
        columns: new column j is old column columns[j].
        readers: products that read them.
        zeros: share of the readers' rows that could rest if each were switched by itself.
        before: share that rests in groups, as they are.
        after: in the new order.
    """

    columns: np.ndarray
    readers: int
    zeros: float
    before: float
    after: float


def grouped(arch: Arch) -> Granularity | None:
    """The finest masks of a chip that switch rows in groups; None where it has none."""
    found: tuple[Granularity, ...] = ("plane_group", "row_group")
    return next((one for one in found if one in arch.array.disabling.granularities), None)


def order_for_readers(
    target: Target, inputs: Mapping[str, np.ndarray], granularity: Granularity, size: int, threshold: float
) -> Order | str:
    """The order of a product's columns in which most groups of its readers' rows rest; the reason, where it stays as it is.

    Args:
        target: the product.
        inputs: vectors [N, K] that products read, by name.
        granularity: `plane_group` or `row_group`.
        size: rows of a group.
        threshold: share of zeros among the readers' rows, each by itself, that must be exceeded.
    """
    shape = static_shape(target.result)
    if shape is None:
        return "the shape of its result is not a fixed one: run bind before crossbars"
    outputs = shape[-1]
    places = follow(target.result, len(shape) - 1, np.zeros(outputs, np.int64))
    if isinstance(places, str):
        return f"its columns stay in order: {places}"
    rows = {node: _rows(order, outputs) for node, order in places.weights.items() if ops.coding_of(node).encoding != "xnor"}
    if not rows:
        return "no product on crossbars reads its columns"
    found = {node: inputs[_read(node)] for node in rows}
    single: Granularity = "row" if granularity in BY_VALUE else "plane"
    share = _resting(found, {}, single, 1)
    if share <= threshold:
        return f"{share:.1%} of its readers' rows rest by {single}, which does not exceed the threshold of {threshold:.1%}"
    live = np.concatenate([_live(x, ops.coding_of(node), granularity)[:, rows[node]].reshape(-1, outputs) for node, x in found.items()])
    if len(live) > SEEN:
        live = live[np.random.default_rng(0).choice(len(live), SEEN, replace=False)]
    columns = np.concatenate(alike(live, np.arange(outputs, dtype=np.int64), size, fullest=False))
    moved = follow(target.result, len(shape) - 1, columns)
    assert not isinstance(moved, str), "it led somewhere before"
    before, after = (_resting(found, orders, granularity, size) for orders in ({}, moved.weights))
    if after - before < LEAST:
        return f"{before:.1%} of its readers' rows rest in groups of {size} as they are, {after:.1%} in the order that was found"
    return Order(columns, len(rows), share, before, after)


def _read(node: onnx_ir.Node) -> str:
    x = node.inputs[0]
    return (x.name if x is not None else "") or ""


def _rows(first: np.ndarray, outputs: int) -> np.ndarray:
    """A reader's rows [place, channel].

    Args:
        first: for each row the row of channel 0 at the same place.
        outputs: how many channels there are.
    """
    return np.argsort(first, kind="stable").reshape(-1, outputs)


def _live(x: np.ndarray, coding: Coding, granularity: Granularity) -> np.ndarray:
    """What keeps a row enabled: values [N, K], or digits [digits · N, K], that are not 0."""
    digits = digits_of(x, coding) != 0
    return digits.any(axis=0) if granularity in BY_VALUE else digits.reshape(-1, x.shape[1])


def _resting(
    found: Mapping[onnx_ir.Node, np.ndarray], orders: Mapping[onnx_ir.Node, np.ndarray], granularity: Granularity, size: int
) -> float:
    """Mean share of rows that rest, by the readers' weights."""
    shares: list[float] = []
    weights: list[int] = []
    for node, x in found.items():
        ordered = x[:, orders[node]] if node in orders else x
        weight = array(node.inputs[1])
        assert weight is not None, "a course leads to constant weights"
        shares.append(zeros(ordered, ops.coding_of(node), granularity, size, 0.0).sparsity)
        weights.append(weight.size)
    return float(np.average(shares, weights=weights))
