"""Products on folded channels: the weight as a train of cores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.folded_fit import fitted
from netwright.passes.factorize.structures.low_rank import LowRank
from netwright.passes.factorize.structures.moments import mode_moments
from netwright.passes.factorize.structures.roots import root

Sizes = tuple[int, ...]


class Folding:
    """W [m, n] seen as a train of d cores G_k [r_{k-1}, m_k, n_k, r_k], r_0 = r_d = 1 (Novikov et al., NeurIPS 2015).

    W[(i₁…i_d), (j₁…j_d)] = Σ G₁[1, i₁, j₁, :] … G_d[:, i_d, j_d, 1]. Cores come of successive truncated decompositions (TT-SVD, Oseledets,
    2011) of the weight whose inputs are multiplied by C₁^½ ⊗ … ⊗ C_d^½, the nearest moments that keep the inputs' axes apart: a root of
    the whole moment would mix them. All that is known of the inputs is then used in `fitted`.

    Attributes:
        outputs, inputs: the sizes m_k and n_k.
    """

    def __init__(self, operator: Operator, outputs: Sizes, inputs: Sizes) -> None:
        self.outputs, self.inputs = outputs, inputs
        moments = mode_moments(operator, inputs)
        self._roots = [(np.eye(size), np.eye(size)) for size in inputs] if moments is None else [root(moment) for moment in moments]
        self._operator = operator
        self._unfolded: dict[int, LowRank] = {}

    @property
    def sizes(self) -> Sizes:
        """m_k · n_k."""
        return tuple(m * n for m, n in zip(self.outputs, self.inputs, strict=True))

    @property
    def full(self) -> Sizes:
        """The largest ranks between cores."""
        sizes = self.sizes
        return tuple(int(min(np.prod(sizes[:cut]), np.prod(sizes[cut:]))) for cut in range(1, len(sizes)))

    def tails(self, cut: int) -> np.ndarray:
        """Energy that a rank 0, 1, … between the first `cut` cores and the rest loses by itself, in the separate moments."""
        return self._between(cut).tails

    def cores(self, ranks: Sizes) -> list[np.ndarray]:
        """The cores with these ranks between them."""
        found: list[np.ndarray] = []
        rest, before = self._between(1), 1
        for index, rank in enumerate((*ranks, 1)):
            m, n = self.outputs[index], self.inputs[index]
            if index == len(ranks):
                found.append(rest.operator.weight.reshape(before, m, n, 1))
                break
            left, right, _ = rest.components
            core, remaining = left[0][:, :rank], right[0][:rank]
            found.append(core.reshape(before, m, n, -1))
            before = core.shape[1]
            columns = remaining.shape[1] // self.sizes[index + 1]
            rest = LowRank(Operator("linear", remaining.reshape(before * self.sizes[index + 1], columns)))
        found = fitted(_balanced(found), self._paired(), self._rest)
        back = [np.einsum("amnb,nk->amkb", core, inverse) for core, (_, inverse) in zip(found, self._roots, strict=True)]
        return _balanced(back)

    def _between(self, cut: int) -> LowRank:
        if cut not in self._unfolded:
            rows = int(np.prod(self.sizes[:cut]))
            self._unfolded[cut] = LowRank(Operator("linear", self._paired().reshape(rows, -1)))
        return self._unfolded[cut]

    def _paired(self) -> np.ndarray:
        """The weighed weight with axes m₁, n₁, m₂, n₂ and so on."""
        count = len(self.outputs)
        array = self._modes(self._operator.weight, [straight for straight, _ in self._roots]).reshape(*self.outputs, *self.inputs)
        return array.transpose([axis for core in range(count) for axis in (core, count + core)])

    def _modes(self, rows: np.ndarray, sides: Sequence[np.ndarray]) -> np.ndarray:
        """Rows [·, n] with a symmetric matrix multiplied to each axis of the folded inputs."""
        array = rows.reshape(-1, *self.inputs)
        for axis, side in enumerate(sides, start=1):
            array = np.moveaxis(np.tensordot(array, side, axes=((axis,), (0,))), -1, axis)
        return array.reshape(rows.shape)

    @cached_property
    def _rest(self) -> np.ndarray | None:
        """What is left of the inputs' moment once the separate ones are taken out, [n, n]; None where nothing is known."""
        known = self._operator
        if known.second is None and known.scales is None:
            return None
        moment = np.diag(known.scales[0]) if known.second is None and known.scales is not None else known.second
        assert moment is not None
        back = [inverse for _, inverse in self._roots]
        half = self._modes(moment.reshape(moment.shape[-2:]), back)
        return self._modes(np.ascontiguousarray(half.T), back)


def chain(structure: str, ranks: Sizes, cores: Sequence[np.ndarray]) -> Factors:
    """The stages that multiply by cores, the first core first.

    Before core k the channels are [n_k, …, n_d, m_1, …, m_{k-1}, r_{k-1}]; n_k is moved beside the rank, both are contracted, and
    [m_k, r_k] take their place. After the last one the channels are in order.
    """
    outputs, inputs = [core.shape[1] for core in cores], [core.shape[2] for core in cores]
    stages: list[Stage] = []
    for index, core in enumerate(cores):
        before, m, n, after = core.shape
        array = core.transpose(1, 3, 2, 0).reshape(m * after, n * before)
        dims = (*inputs[index:], *outputs[:index], *([before] if index else []))
        middle = len(inputs) - 1
        perm = (*range(1, middle + 1), 0, *([middle + 1] if index else []))
        stages.append(Stage(array, dims=dims, perm=perm))
    return Factors(structure, ranks, tuple(stages))


def _balanced(cores: list[np.ndarray]) -> list[np.ndarray]:
    """The same product, each component between two cores with the same norm on both sides (one sweep)."""
    for index in range(len(cores) - 1):
        behind = np.einsum("amnb,amnb->b", cores[index], cores[index])
        ahead = np.einsum("bmnc,bmnc->b", cores[index + 1], cores[index + 1])
        able = (ahead > 0) & (behind > 0)
        share = (np.where(able, ahead, 1.0) / np.where(able, behind, 1.0)) ** 0.25
        cores[index] = cores[index] * share
        cores[index + 1] = cores[index + 1] / share[:, None, None, None]
    return cores
