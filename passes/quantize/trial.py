"""Trying a site out before deciding on it: its outputs as integers against its float outputs, on the activations that it sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.editor import Editor
from netwright.passes.quantize.lstm import quantize_lstm
from netwright.passes.quantize.sites import Site, find_sites
from netwright.passes.quantize.units import Unit, units_of

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Executor, Feeds
    from netwright.passes.quantize.choice import Dynamic


def lstm_errors(program: Program, executor: Executor, feeds: Sequence[Feeds], units: Sequence[Unit], choice: Dynamic) -> dict[Unit, float]:
    """Relative error of each unit of LSTMs in the main graph, each layer fed what the float layers before it give.

    Args:
        program: left as it is; a clone is quantized.
        executor: runs both.
        feeds: inputs of the program.
        units: those without LSTMs are passed over.
        choice: how they would be quantized.

    Returns:
        By unit, the largest error over its layers: |int8 - float| / |float| in the Euclidean norm over all feeds.
    """
    wanted = {unit: [site for site in unit.sites if site.kind == "lstm" and site.node.graph is program.graph] for unit in units}
    if not any(wanted.values()):
        return {}
    clone = program.clone()
    chosen = {site.name for sites in wanted.values() for site in sites}
    for unit in units_of(site for site in find_sites(clone) if isinstance(site, Site) and site.name in chosen):
        with Editor(clone, at=unit.sites[0].node) as editor:
            quantize_lstm(editor, unit, choice)
    errors: dict[Unit, float] = {}
    for unit, sites in wanted.items():
        if sites:
            errors[unit] = max(_error(program, clone, executor, feeds, site) for site in sites)
    return errors


def _error(program: Program, clone: Program, executor: Executor, feeds: Sequence[Feeds], site: Site) -> float:
    given = [value.name or "" for value in site.node.inputs if value is not None and value.const_value is None]
    read = [value.name or "" for value in site.node.outputs if value.uses() or value.is_graph_output()]
    off = whole = 0.0
    for batch in feeds:
        expected = executor.run(program, batch, list(dict.fromkeys([*given, *read])))
        found = executor.run(clone, {name: expected[name] for name in given}, read)
        off += sum(float(np.sum((found[name] - expected[name]) ** 2)) for name in read)
        whole += sum(float(np.sum(expected[name] ** 2)) for name in read)
    return (off / whole) ** 0.5 if whole > 0 else 0.0
