"""Weights that no value map leads back to, read off from what their layers do: a product of the identity matrix is the weight.

Packed weights (`MatMulNBits`, `GatherBlockQuantized`) and whatever else a pass makes of a layer are seen so, as long as the layer's input
and output still exist under their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from netwright.ir.errors import NetwrightError
from netwright.ir.program import Program
from netwright.ir.shapes import rank
from netwright.passes.context import Executor
from netwright.training.compressors.sites import Reader, WeightSite, find_weights


@dataclass(frozen=True, slots=True)
class _Probe:
    """How one weight is read off.

    Attributes:
        source: the layer's input, which is fed.
        result: its output.
        feed: the identity, or all indexes of a table.
        turned: the weight is stored as [out, in].
    """

    source: str
    result: str
    feed: np.ndarray
    turned: bool


def probe(original: Program, rewritten: Program, names: Iterable[str], executor: Executor) -> dict[str, np.ndarray]:
    """Read off what weights have become; those that cannot be are left out.

    Args:
        original: where they are initializers.
        rewritten: what a pass made of it.
        names: of the weights.
        executor: runs the rewritten program with inner values fed.
    """
    sites = {site.name: site for site in find_weights(original, head=True).sites}
    known = {value.name for value in rewritten.graph.inputs} | {value.name for node in rewritten.graph for value in node.outputs}
    found: dict[str, np.ndarray] = {}
    for name in names:
        site = sites.get(name)
        one = None if site is None else next((made for reader in site.readers if (made := _probe(site, reader)) is not None), None)
        if site is None or one is None or one.source not in known or one.result not in known:
            continue
        array = _read_off(rewritten, one, site.shape, executor)
        if array is not None:
            found[name] = array
    return found


def _probe(site: WeightSite, reader: Reader) -> _Probe | None:
    node = reader.node
    result = node.outputs[0].name or ""
    if len(site.shape) != 2:
        return None
    if reader.kind == "table" and reader.perm == (0, 1) and node.inputs[1] is not None:
        indexes = np.arange(site.shape[0], dtype=np.int64)
        dtype = node.inputs[1].dtype
        axes = rank(node.inputs[1]) or 1
        feed = indexes.astype(dtype.numpy() if dtype is not None else np.int64).reshape(*[1] * (axes - 1), -1)
        return _Probe(node.inputs[1].name or "", result, feed, turned=False)
    source = node.inputs[0]
    if reader.kind != "linear" or reader.index != 1 or source is None:
        return None
    turned = reader.rows == (0,)
    width = site.shape[1] if turned else site.shape[0]
    axes = max(rank(source) or 2, 2)
    dtype = source.dtype.numpy() if source.dtype is not None else np.dtype(np.float32)
    return _Probe(source.name or "", result, np.eye(width, dtype=dtype).reshape(*[1] * (axes - 2), width, width), turned)


def _read_off(program: Program, one: _Probe, shape: tuple[int, ...], executor: Executor) -> np.ndarray | None:
    try:
        found = _run(program, one, one.feed, executor)
        if one.feed.dtype.kind == "f":  # a bias answers to zeros
            found = found - _run(program, one, np.zeros_like(one.feed), executor)
    except NetwrightError:
        return None
    matrix = found.reshape(-1, found.shape[-1])
    matrix = matrix.T if one.turned else matrix
    return np.ascontiguousarray(matrix) if matrix.shape == shape else None


def _run(program: Program, one: _Probe, feed: np.ndarray, executor: Executor) -> np.ndarray:
    feeds: Mapping[str, np.ndarray] = {one.source: feed}
    return executor.run(program, feeds, [one.result])[one.result]
