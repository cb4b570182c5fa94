"""What the inputs of layers are like, learnt by running the program over calibration data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netwright.passes.statistics import LinearLayer, feeds_of, pieces, places

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.prune.unstructured.sites import SparseSite

PIECES, PIECE_ROWS = 64, 8
"""Inputs are looked at on so many small batches of so many rows, drawn from all of the data."""

PLACES = 1024
"""Places of each small batch at which a layer's input is looked at; of more, so many are drawn at random."""


def input_norms(program: Program, context: Context, sites: Sequence[SparseSite]) -> dict[SparseSite, np.ndarray]:
    """√E[x²] of each input channel of each weight's layers, [groups, channels], over all their taps.

    Raises:
        DataError: there is no calibration data.
    """
    sums: dict[SparseSite, np.ndarray] = {}
    counts: dict[SparseSite, int] = {}
    for site, rows in _rows(program, context, {layer: one for one in sites for layer in one.layers}):
        layer = site.layers[0]
        squares = np.square(rows, dtype=np.float64).sum(axis=1).reshape(layer.groups, layer.taps, -1).sum(axis=1)
        sums[site] = sums.get(site, 0.0) + squares
        counts[site] = counts.get(site, 0) + rows.shape[1] * layer.taps
    return {site: np.sqrt(total / max(1, counts[site])) for site, total in sums.items()}


def _rows(program: Program, context: Context, layers: Mapping[LinearLayer, SparseSite]) -> Iterator[tuple[SparseSite, np.ndarray]]:
    """What layers see, small batch by small batch: [groups, places, features]."""
    assert context.executor is not None
    assert context.calibration is not None
    wanted = list(dict.fromkeys(value.name or "" for layer in layers for value in (layer.data, layer.output)))
    sample = pieces(program, feeds_of(program, context.calibration), rows=PIECE_ROWS, most=PIECES, seed=context.seed)
    for number, feeds in enumerate(sample if wanted else ()):
        values = context.executor.run(program, feeds, wanted)
        for position, (layer, site) in enumerate(layers.items()):
            x, y = values[layer.data.name or ""], values[layer.output.name or ""]
            yield site, layer.rows(x, y, places(layer.places(y), PLACES, [context.seed, number, position]))
