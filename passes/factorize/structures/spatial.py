"""A kernel of rows in the place of one of squares: k×1, then 1×k."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.base import Ranks
from netwright.passes.factorize.structures.last import last_solved
from netwright.passes.factorize.structures.low_rank import LowRank
from netwright.passes.factorize.structures.measured import Measured
from netwright.passes.factorize.structures.moments import column_moment
from netwright.passes.factorize.structures.sizes import blank, require_ranks


class Spatial(Measured):
    """W[o, i, a, b] ≈ Σ_r H[o, r, b] V[r, i, a]: a k×1 kernel V, then a 1×k kernel H (Jaderberg et al., BMVC 2014).

    V comes from the weight as a matrix [O · kw, I · kh], whose low-rank product is weighed by the mean moment of the kernel's columns; H
    is the least-squares one under the whole patch's moment, V given.
    """

    structure = "spatial"

    @classmethod
    def refusal(cls, operator: Operator) -> str | None:
        """Other kernels than those with several rows and columns, and groups."""
        if operator.kind != "conv" or len(operator.kernel) != 2 or min(operator.kernel) < 2:
            return f"a kernel of {'×'.join(map(str, operator.kernel)) or 'no'} taps has no rows and columns to split"
        if operator.groups > 1:
            return f"rows and columns are split of convolutions without groups; this one has {operator.groups}"
        return None

    @property
    def full(self) -> Ranks:
        """(min(O · kw, I · kh),)."""
        return self._columns.full

    def ranks_for(self, parameters: int, round_to: int = 1) -> Ranks | None:
        """The largest rank that fits."""
        return self._columns.ranks_for(parameters, round_to)

    def shapes(self, ranks: Ranks) -> Factors:
        """Stages of broadcast zeros."""
        outputs, inputs, height, width = self.operator.weight.shape
        return self._chain(blank(ranks[0], inputs, height, 1), blank(outputs, ranks[0], 1, width))

    def decomposed(self, ranks: Ranks) -> Factors:
        """The column kernel, then the row kernel."""
        require_ranks(self.structure, ranks, self.full)
        outputs, inputs, height, width = self.operator.weight.shape
        down, across = (stage.array for stage in self._columns.factors(ranks).stages)
        rows = np.swapaxes(across.reshape(outputs, width, ranks[0]), 1, 2)
        return last_solved(self._chain(down.reshape(ranks[0], inputs, height, 1), rows[:, :, None, :]), self.operator)

    def _chain(self, down: np.ndarray, across: np.ndarray) -> Factors:
        return Factors(self.structure, (len(down),), (Stage(down, spatial=(0,)), Stage(across, spatial=(1,))))

    @cached_property
    def _columns(self) -> LowRank:
        outputs, inputs, height, width = self.operator.weight.shape
        matrix = self.operator.weight.transpose(0, 3, 1, 2).reshape(outputs * width, inputs * height)
        moment = column_moment(self.operator)
        return LowRank(Operator("linear", matrix, second=None if moment is None else moment[None]))
