"""The last stage of a chain, solved for again under what is known of the inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netwright.passes.factorize.factors import Factors
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.product import product
from netwright.passes.factorize.structures.roots import solved

_WORK = 1e11
"""Multiply-accumulates beyond which the stage stays as it is: a minute is not spent on one candidate."""


def last_solved(factors: Factors, operator: Operator) -> Factors:
    """The chain whose last stage loses least of E|W x|², the others given; of one group, and without folded channels.

    A correction is solved for, so that an exact product stays exact. The chain comes back as it is where nothing is known of the inputs
    (all structures' first solution is then the plain one), or where solving would take more than 10¹¹ multiply-accumulates.
    """
    if operator.second is None and operator.scales is None:
        return factors
    last = factors.stages[-1]
    width = last.array[0].size
    inputs = operator.weight[0].size
    if float(width) * inputs * (width + inputs) > _WORK:
        return factors
    unit = np.eye(width).reshape(width, *last.array.shape[1:])
    outputs = Operator(operator.kind, np.broadcast_to(0.0, (width, *operator.weight.shape[1:])))
    reads = product(replace(factors, stages=(*factors.stages[:-1], replace(last, array=unit))), outputs).reshape(width, inputs)
    weighed = operator.weighed(reads[None])[0]
    rest = (operator.weight - product(factors, operator)).reshape(-1, inputs)
    more = solved(rest @ weighed.T, weighed @ reads.T)
    return replace(factors, stages=(*factors.stages[:-1], replace(last, array=last.array + more.reshape(last.array.shape))))
