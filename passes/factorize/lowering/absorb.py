"""Folded channels that need no folding: a stage that multiplies them all takes its permutation into its matrix."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from netwright.passes.factorize.factors import Factors, Stage


def absorbed(factors: Factors) -> Factors:
    """The same chain, with stages that multiply all channels at once made dense, and the last permutation in the rows of such a last stage.

    A train whose outputs all are the last core's ends in such a stage: it is what a recurrent layer can take in the place of its weight.
    """
    stages = tuple(_plain(stage) for stage in factors.stages)
    last = stages[-1]
    if not factors.dims or last.dims or last.array.ndim != 2 or math.prod(factors.dims) != last.array.shape[0]:
        return replace(factors, stages=stages)
    rows = last.array.reshape(*factors.dims, -1)
    perm = factors.perm or tuple(range(len(factors.dims)))
    array = rows.transpose(*perm, len(factors.dims)).reshape(last.array.shape)
    return replace(factors, stages=(*stages[:-1], replace(last, array=array)), dims=(), perm=())


def _plain(stage: Stage) -> Stage:
    if not stage.dims or stage.array.ndim != 2 or math.prod(stage.dims) != stage.array.shape[1]:
        return stage
    perm = stage.perm or tuple(range(len(stage.dims)))
    columns = stage.array.reshape(-1, *(stage.dims[axis] for axis in perm))
    back = (0, *(1 + int(axis) for axis in np.argsort(perm)))
    return replace(stage, array=columns.transpose(back).reshape(stage.array.shape), dims=(), perm=())
