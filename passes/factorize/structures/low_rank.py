"""W ≈ U V: two thin products in the place of one."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.base import Decomposition, Ranks
from netwright.passes.factorize.structures.roots import descending
from netwright.passes.factorize.structures.sizes import blank, require_ranks, rounded

_LARGE = 1 << 18
"""Elements above which eigenvectors are kept in single precision."""


class LowRank(Decomposition):
    """W ≈ U V, U: [m, r], V: [r, n], in each group; of all such products the one that loses least of E|W x|².

    With C = E[x xᵀ] that is U_r U_rᵀ W, U_r the leading eigenvectors of W C Wᵀ; the sum of the other eigenvalues is lost (output principal
    components: Wang et al., "SVD-LLM", ICLR 2025, and Chen et al., "DRONE", NeurIPS 2021, reach the same product through a root of C).
    With C = I it is the truncated SVD. For a tall W = Q R the eigenvectors are Q times those of R C Rᵀ, which is small. Component k has the
    same norm in U and in V. The components of a rank are the first ones of every larger rank.

    On images V is the kernel with stride, padding and dilation, and U a 1×1 convolution; of a transposed convolution V is the 1×1 one, and
    U the kernel. Computing takes O(m n min(m, n)) once; every rank's error is then at hand.
    """

    structure = "low_rank"

    @classmethod
    def refusal(cls, operator: Operator) -> str | None:
        """A matrix with one row or one column has no lower rank."""
        outputs, features = operator.matrices().shape[1:]
        if min(outputs, features) < 2:
            return f"a matrix of {outputs} × {features} has no lower rank"
        return None

    @property
    def full(self) -> Ranks:
        """(min(m, n),) of a group."""
        return (min(self.operator.matrices().shape[1:]),)

    def ranks_for(self, parameters: int, round_to: int = 1) -> Ranks | None:
        """The largest rank that fits."""
        rank = min(parameters // self.parameters((1,)), self.full[0])
        return (rounded(rank, round_to),) if rank else None

    def parameters(self, ranks: Ranks) -> int:
        """R (m + n) in each group."""
        groups, outputs, features = self.operator.matrices().shape
        return groups * ranks[0] * (outputs + features)

    def error(self, ranks: Ranks) -> float:
        """The sum of the eigenvalues that are left out."""
        require_ranks(self.structure, ranks, self.full)
        return float(self.tails[ranks[0]])

    def factors(self, ranks: Ranks) -> Factors:
        """V, then U."""
        require_ranks(self.structure, ranks, self.full)
        left, right, norms = self.components
        share = np.sqrt(np.where(norms > 0, norms, 1.0))[:, : ranks[0]]
        return self._chain(left[:, :, : ranks[0]] * share[:, None, :], right[:, : ranks[0]] / share[:, :, None])

    def shapes(self, ranks: Ranks) -> Factors:
        """Stages of broadcast zeros."""
        groups, outputs, features = self.operator.matrices().shape
        return self._chain(blank(groups, outputs, ranks[0]), blank(groups, ranks[0], features))

    @property
    def components(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Orthonormal columns [groups, m, full], the rows U_fullᵀ W [groups, full, n], and the norms of those rows."""
        left = self._decomposed[0].astype(np.float64, copy=False)
        right = np.swapaxes(left, 1, 2) @ self.operator.matrices()
        return left, right, np.linalg.norm(right, axis=2)

    @property
    def tails(self) -> np.ndarray:
        """The energy that is lost with each rank, 0 … full, in all groups."""
        return self._decomposed[1]

    @cached_property
    def _decomposed(self) -> tuple[np.ndarray, np.ndarray]:
        """The leading eigenvectors of W C Wᵀ, as many as can matter, and the tails: what is kept, of many layers at once, is no larger.

        Large ones are kept in single precision.
        """
        rows = self.operator.matrices()
        basis, small = np.linalg.qr(rows) if rows.shape[1] > rows.shape[2] else (None, rows)
        pairs = [descending(moment) for moment in self.operator.weighed(small) @ np.swapaxes(small, 1, 2)]
        vectors = np.stack([vectors for _, vectors in pairs])
        left = vectors if basis is None else basis @ vectors
        energies = np.sum([values for values, _ in pairs], axis=0)
        tails = np.append(np.cumsum(energies[::-1])[::-1], 0.0)
        return left.astype(np.float32) if left.size > _LARGE else left, tails

    def _chain(self, left: np.ndarray, right: np.ndarray) -> Factors:
        """Stages of U: [groups, m, r] and V: [groups, r, n]."""
        groups, rank, features = right.shape
        kind, kernel = self.operator.kind, self.operator.kernel
        spatial = tuple(range(len(kernel)))
        if kind == "deconv":
            outputs = left.shape[1] // math.prod(kernel)
            taps = np.swapaxes(left, 1, 2).reshape(groups * rank, outputs, *kernel)
            stages = (Stage(right.reshape(-1, features), groups), Stage(taps, groups, spatial, transposed=True))
        else:
            inputs = (features // math.prod(kernel), *kernel)
            stages = (Stage(right.reshape(groups * rank, *inputs), groups, spatial), Stage(left.reshape(-1, rank), groups))
        return Factors(self.structure, (rank,), stages)
