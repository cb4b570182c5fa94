"""Spectral initialisation: factors of a weight that is not trained yet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netwright.passes.factorize.factors import Factors
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.product import product


def rescaled(factors: Factors, operator: Operator) -> Factors:
    """Factors whose product has the weight's Frobenius norm, all stages multiplied by the same number.

    A truncated product of a random weight is smaller than the weight, and so would be the variance of what comes out, layer after layer
    (spectral initialisation: Khodak et al., "Initialization and Regularization of Factorized Neural Layers", ICLR 2021).
    """
    norm = float(np.linalg.norm(product(factors, operator)))
    if norm == 0:
        return factors
    share = (float(np.linalg.norm(operator.weight)) / norm) ** (1 / len(factors.stages))
    return replace(factors, stages=tuple(replace(stage, array=stage.array * share) for stage in factors.stages))
