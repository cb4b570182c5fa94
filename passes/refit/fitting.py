"""Running both programs on calibration data, and fitting sites on what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from netwright.passes.refit.prefix import Prefix
from netwright.passes.refit.site import HELD_ROWS, Site
from netwright.passes.refit.solve import Held, Solution, solve
from netwright.passes.refit.stages import Stage
from netwright.passes.statistics import Moments, Repeated, places

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Executor

FOLDS = 5
"""One batch in so many is held out; of fewer batches, that share of every one's rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """The rows of one batch that a site looks at.

    Attributes:
        fit, held: numbers of the rows that it is fitted on, and of those that judge it.
        target: what is wanted there, [blocks, fit + held, targets].
    """

    fit: np.ndarray
    held: np.ndarray
    target: np.ndarray


@dataclass(slots=True, eq=False)
class _Collected:
    """What a site has seen.

    Attributes:
        fit: moments, for each block.
        x, residual, target: held-out rows of each batch, [blocks, rows, …].
    """

    fit: list[Moments]
    x: list[np.ndarray] = field(default_factory=list[np.ndarray])
    residual: list[np.ndarray] = field(default_factory=list[np.ndarray])
    target: list[np.ndarray] = field(default_factory=list[np.ndarray])


def observe(before: Program, sites: Sequence[Site], data: Repeated, executor: Executor, seed: int) -> list[list[Wanted]]:
    """What the program before made of a sample of rows: for each site, batch by batch. Goes through the data once."""
    found: list[list[Wanted]] = [[] for _ in sites]
    wanted = list(dict.fromkeys(name for site in sites for name in site.wanted_old))
    batches = len(data)
    for index, feeds in enumerate(data):
        old = executor.run(before, feeds, wanted)
        for site, into in zip(sites, found, strict=True):
            into.append(_choose(site, old, index, batches, seed))
    return found


def fit(program: Program, stage: Stage, targets: Sequence[list[Wanted]], prefix: Prefix) -> Iterator[list[Solution]]:
    """Solutions for the sites of a stage, one for each block of each. Goes through the data once.

    Args:
        program: as it is now.
        stage: layers of it.
        targets: what is wanted of each; emptied on the way.
        prefix: what runs it.
    """
    sites = stage.sites
    collected = [_Collected([Moments(site.features, site.targets) for _ in range(site.blocks)]) for site in sites]
    wanted = list(dict.fromkeys(name for site in sites for name in site.wanted))
    for found in prefix.runs(program, wanted, stage.border):
        for site, queue, into in zip(sites, targets, collected, strict=True):
            choice = queue.pop(0)
            x, now = (_at_least_float32(part) for part in site.rows(found, np.concatenate([choice.fit, choice.held])))
            residual, split = choice.target - now, len(choice.fit)
            for block, moments in enumerate(into.fit):
                moments.add(x[block, :split], residual[block, :split])
            if len(choice.held):
                into.x.append(x[:, split:])
                into.residual.append(residual[:, split:])
                into.target.append(choice.target[:, split:])
    for site, into in zip(sites, collected, strict=True):
        yield [_solve(site, block, into) for block in range(site.blocks)]


def _choose(site: Site, old: dict[str, np.ndarray], index: int, batches: int, seed: int) -> Wanted:
    apart = batches >= FOLDS
    held_batches = batches // FOLDS if apart else batches
    own = apart and index % FOLDS == FOLDS - 1 and index // FOLDS < held_batches
    count = site.places(old)
    if own:
        fit, held = np.arange(0), places(count, -(-HELD_ROWS // held_batches), [seed, index])
    elif apart:
        fit, held = places(count, -(-site.fit_rows // (batches - held_batches)), [seed, index]), np.arange(0)
    else:  # the last rows of the batch
        border = count - max(1, count // FOLDS)
        fit = places(border, -(-site.fit_rows // batches), [seed, index])
        held = border + places(count - border, -(-HELD_ROWS // batches), [seed, index])
    return Wanted(fit, held, _at_least_float32(np.array(site.target(old, np.concatenate([fit, held])))))


def _at_least_float32(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)


def _solve(site: Site, block: int, into: _Collected) -> Solution:
    x, residual, target = (np.concatenate([rows[block] for rows in parts]) for parts in (into.x, into.residual, into.target))
    metric = site.metric(block)
    centred = target - target.mean(axis=0)
    weighed = centred if metric is None else centred @ metric.astype(centred.dtype)
    energy = float(np.einsum("ij,ij->", weighed, centred, dtype=np.float64))
    return solve(into.fit[block], Held(x, residual, energy), metric=metric, constant=site.constant, free=site.free(block))
