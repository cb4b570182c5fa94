"""Weights of products that see the same data (q, k and v; gate and up): one operator, its outputs stacked."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir

from netwright.ir.program import constant
from netwright.passes.factorize.sites.site import FactorSite, Reader
from netwright.passes.factorize.sites.weights import behind, data_turned, is_left


def joined(sites: Sequence[FactorSite]) -> list[tuple[FactorSite, ...]]:
    """The groups of sites that could be joined: linear ones whose readers multiply the very same values, on the same side.

    Tied tables and weights of other types than the rest stay apart. Groups and their members are in the order of `sites`.
    """
    groups: dict[object, list[FactorSite]] = {}
    for site in sites:
        if site.kind != "linear" or len(site.weights) != 1 or any(reader.kind != "linear" or is_left(reader) for reader in site.readers):
            continue
        tensor = constant(site.weights[0])
        seen = frozenset((reader.data, data_turned(reader)) for reader in site.readers)
        groups.setdefault((seen, site.shape[1], None if tensor is None else tensor.dtype), []).append(site)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def as_one(group: Sequence[FactorSite]) -> FactorSite:
    """One site of several that `joined` gives: weights stacked along outputs, in order; each reader computes its weight's rows.

    Linear in the graph's nodes, whose order readers are put in.
    """
    start, rows = 0, dict[onnx_ir.Value, tuple[int, int]]()
    for site in group:
        rows[site.weights[0]] = (start, start + site.shape[0])
        start += site.shape[0]
    readers = [Reader(old.node, old.index, rows[behind(old)[0]], old.kind) for site in group for old in site.readers]
    graph = readers[0].node.graph
    assert graph is not None, "readers stand in a graph"
    order = {node: number for number, node in enumerate(graph)}
    return FactorSite(
        "linear",
        tuple(site.weights[0] for site in group),
        tuple(sorted(readers, key=lambda reader: order[reader.node])),
        1,
        (start, group[0].shape[1]),
        tuple(dict.fromkeys(path for site in group for path in site.modules)),
    )
