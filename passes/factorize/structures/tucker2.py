"""Tucker-2: a 1×1 convolution, a thin kernel, a 1×1 convolution."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.base import Ranks
from netwright.passes.factorize.structures.measured import Measured
from netwright.passes.factorize.structures.moments import channel_moment
from netwright.passes.factorize.structures.roots import descending, root, solved
from netwright.passes.factorize.structures.sizes import blank, require_ranks, rounded

_TRIED = 32
_MEASURED = 2


class Tucker2(Measured):
    """W ≈ U · core · V: V: [r_i, I] and U: [O, r_o] are 1×1 convolutions, the core is [r_o, r_i, *k] (Kim et al., ICLR 2016).

    V spans the leading directions of the kernel's input side weighted by the channels' moment, U the leading eigenvectors of E[ŷ ŷᵀ], ŷ
    being what V leaves of the output; V is then found anew given U (a sweep of HOOI, De Lathauwer et al., 2000; more of them change
    little), and the core is the least-squares one under C. Each pair of ranks costs a few products with C.
    """

    structure = "tucker2"

    @classmethod
    def refusal(cls, operator: Operator) -> str | None:
        """Other kinds than kernels of several taps, and groups."""
        if operator.kind != "conv" or operator.taps == 1:
            return "Tucker-2 is of kernels with more than one tap"
        if operator.groups > 1:
            return f"Tucker-2 is of convolutions without groups; this one has {operator.groups}"
        return None

    @property
    def full(self) -> Ranks:
        """All outputs and inputs that can differ."""
        outputs, inputs = self.operator.weight.shape[:2]
        return min(outputs, inputs * self.operator.taps), min(inputs, outputs * self.operator.taps)

    def ranks_for(self, parameters: int, round_to: int = 1) -> Ranks | None:
        """Of up to 32 pairs that use the size up, the two most likely ones are decomposed, and the better one is it."""
        able = sorted((*self._proxy(ranks), ranks) for ranks in self._pairs(parameters, round_to))
        likely = [ranks for *_, ranks in able[:_MEASURED]]
        if not likely:
            return None
        return min(likely, key=self.error) if len(likely) > 1 else likely[0]

    def shapes(self, ranks: Ranks) -> Factors:
        """Stages of broadcast zeros."""
        outputs, inputs = self.operator.weight.shape[:2]
        return self._chain(blank(ranks[1], inputs), blank(*ranks, *self.operator.kernel), blank(outputs, ranks[0]))

    def decomposed(self, ranks: Ranks) -> Factors:
        """V, the core, U."""
        require_ranks(self.structure, ranks, self.full)
        right = self._inputs[1][: ranks[1]]
        left = descending(self._seen_through(right))[1][:, : ranks[0]]
        right = self._input_side(np.tensordot(left.T, self._kernel, axes=1))[1][: ranks[1]]
        core = self._core(left, right)
        share = np.linalg.norm(core) ** (1 / 3) or 1.0  # the three train, and quantize, alike
        each = [share / (np.linalg.norm(part) or 1.0) for part in (right, left)]
        return self._chain(right * each[0], core / (each[0] * each[1]), left * each[1])

    def _chain(self, right: np.ndarray, core: np.ndarray, left: np.ndarray) -> Factors:
        spatial = tuple(range(len(self.operator.kernel)))
        stages = (Stage(right), Stage(core.reshape(*core.shape[:2], *self.operator.kernel), spatial=spatial), Stage(left))
        return Factors(self.structure, (core.shape[0], core.shape[1]), stages)

    def _pairs(self, parameters: int, round_to: int) -> list[Ranks]:
        """For up to 32 widths of one side, the widest other side that fits."""
        outputs, inputs = self.operator.weight.shape[:2]
        step = -(-self.full[0] // _TRIED)
        widths = {rounded(rank, round_to) for rank in [*range(1, self.full[0], step), self.full[0]]}
        found: list[Ranks] = []
        for width in sorted(widths):
            other = min((parameters - width * outputs) // (inputs + width * self.operator.taps), self.full[1])
            if other >= 1:
                found.append((width, rounded(other, round_to)))
        return found

    def _proxy(self, ranks: Ranks) -> tuple[float, int]:
        """What both sides lose on their own, and the size: bounds of the error from the first projection alone."""
        return float(self._outputs[0][ranks[0] :].sum() + self._inputs[0][ranks[1] :].sum()), self.parameters(ranks)

    @property
    def _kernel(self) -> np.ndarray:
        """[O, I, taps]."""
        return self.operator.weight.reshape(*self.operator.weight.shape[:2], -1)

    @cached_property
    def _roots(self) -> tuple[np.ndarray, np.ndarray] | None:
        moment = channel_moment(self.operator)
        return None if moment is None else root(moment)

    @cached_property
    def _outputs(self) -> tuple[np.ndarray, np.ndarray]:
        return descending(self.operator.gram()[0])

    @cached_property
    def _inputs(self) -> tuple[np.ndarray, np.ndarray]:
        return self._input_side(self._kernel)

    def _input_side(self, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energies, and orthonormal rows [I, I] whose leading ones span what a kernel [·, I, taps] reads most of."""
        reads = np.tensordot(kernel, kernel, axes=((0, 2), (0, 2)))
        if self._roots is None:
            values, vectors = descending(reads)
            return values, vectors.T
        straight, _ = self._roots
        values, vectors = descending(straight @ reads @ straight)
        rows = reads @ straight @ vectors  # in proportion to C^(-1/2) vectors, without the inverse
        norms = np.linalg.norm(rows, axis=0)
        return values, np.linalg.qr(rows / np.where(norms > 0, norms, 1.0))[0].T

    def _expanded(self, right: np.ndarray) -> np.ndarray:
        """Rows by which the thin channels' taps are read off a patch, [r_i · taps, I · taps]."""
        return np.kron(right, np.eye(self.operator.taps))

    def _seen_through(self, right: np.ndarray) -> np.ndarray:
        """E[ŷ ŷᵀ] of the best prediction of the output from the thin channels, [O, O]."""
        reads = self._read(self._weighted, right)
        return self._fitted(reads, right) @ reads.T

    def _read(self, rows: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Rows [·, I · taps] · (V ⊗ 1)ᵀ, [·, r_i · taps]."""
        return np.einsum("oct,sc->ost", rows.reshape(len(rows), right.shape[1], -1), right, optimize=True).reshape(len(rows), -1)

    def _fitted(self, reads: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Rows [·, r_i · taps] times the inverse of the thin patches' moment."""
        operator, inputs = self.operator, right.shape[1]
        if operator.second is None and operator.scales is None:
            return reads  # V is orthonormal
        if operator.second is not None and operator.second.shape[-1] == inputs:
            apart = np.moveaxis(reads.reshape(len(reads), len(right), -1), 1, 2)
            found = solved(apart.reshape(-1, len(right)), right @ operator.second[0] @ right.T)
            return np.moveaxis(found.reshape(apart.shape), 1, 2).reshape(reads.shape)
        if operator.second is not None:
            half = self._read(operator.second[0], right)  # [I · taps, r_i · taps]
            return solved(reads, self._read(half.T, right))
        rows = self._expanded(right)
        return solved(reads, operator.weighed(rows[None])[0] @ rows.T)

    @cached_property
    def _weighted(self) -> np.ndarray:
        return self.operator.weighed(self.operator.matrices())[0]

    def _core(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The core that loses least, given both sides: the projected one plus what is left over, solved for."""
        core = np.einsum("ro,oct,sc->rst", left.T, self._kernel, right, optimize=True)
        rest = left.T @ self._kernel.reshape(len(left), -1) - np.einsum("rst,sc->rct", core, right).reshape(left.shape[1], -1)
        more = self._fitted(self._read(self.operator.weighed(rest[None])[0], right), right)
        return core + more.reshape(core.shape)
