"""CP: a 1×1 convolution, a depthwise one along each axis, a 1×1 convolution."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.base import Ranks
from netwright.passes.factorize.structures.last import last_solved
from netwright.passes.factorize.structures.measured import Measured
from netwright.passes.factorize.structures.moments import channel_moment
from netwright.passes.factorize.structures.parafac import parafac
from netwright.passes.factorize.structures.roots import descending, root
from netwright.passes.factorize.structures.sizes import blank, require_ranks, rounded

_ROUNDS = (2, 16)
_WORK = 5e8
"""Multiply-accumulates of one step over one axis, times rounds: large kernels get fewer rounds, two at least."""
_RIDGE = 1e-5


class CP(Measured):
    """W[o, i, a, b] ≈ Σ_r U[o, r] H[a, r] K[b, r] V[r, i]: dense, depthwise k×1, depthwise 1×k, dense (Lebedev et al., ICLR 2015).

    Alternating least squares (tensorly's `parafac`) on the kernel whose input channels are multiplied by a root of their moment. The best
    approximation of a given rank need not exist: components can grow without bound against each other. So it starts at the largest
    singular components of the slices along the principal directions of the kernel's axes, within the leading subspaces of both channel
    axes (a Tucker-2 of the same rank), of a kernel scaled to norm 1, with a ridge of 1e-5 on the factors. Nothing in it is random. At the
    end all factors are given the same norm, component by component, and U is solved for again under the whole patch's moment. At the full
    rank the start is the kernel, and is kept. Each rank is computed anew; of a kernel of 256 × 256 × 3 × 3 that takes seconds.
    """

    structure = "cp"

    @classmethod
    def refusal(cls, operator: Operator) -> str | None:
        """Other kinds than kernels of several taps, and groups."""
        if operator.kind != "conv" or operator.taps == 1:
            return "CP is of kernels with more than one tap"
        if operator.groups > 1:
            return f"CP is of convolutions without groups; this one has {operator.groups}"
        return None

    @property
    def full(self) -> Ranks:
        """All singular components of as many slices as taps: always enough, though fewer may do."""
        return (min(self.operator.weight.shape[:2]) * self.operator.taps,)

    def ranks_for(self, parameters: int, round_to: int = 1) -> Ranks | None:
        """The largest rank that fits."""
        rank = min(parameters // sum(self.operator.weight.shape), self.full[0])
        return (rounded(rank, round_to),) if rank else None

    def shapes(self, ranks: Ranks) -> Factors:
        """Stages of broadcast zeros."""
        outputs, inputs, *kernel = self.operator.weight.shape
        return self._chain(blank(outputs, ranks[0]), blank(inputs, ranks[0]), [blank(taps, ranks[0]) for taps in kernel])

    def decomposed(self, ranks: Ranks) -> Factors:
        """V, one depthwise kernel for each axis, U."""
        require_ranks(self.structure, ranks, self.full)
        left, right, kernels = self._components(ranks[0])
        for axis, taps in enumerate(self.operator.kernel):
            if taps == 1:  # no stage's: its numbers go to the outputs
                left, kernels[axis] = left * kernels[axis][0], np.ones_like(kernels[axis])
        left, right, kernels = _balanced(left, right, kernels)
        chain = self._chain(left, right, kernels)
        return chain if ranks == self.full else last_solved(chain, self.operator)

    def _components(self, rank: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Factors of outputs, inputs and taps, [size, rank] each."""
        kernel, back, scale = self._rooted
        outputs, inputs, _ = kernel.shape
        left = self._outputs[:, : min(rank, outputs)]
        right = self._inputs[:, : min(rank, inputs)]
        core = np.einsum("oct,or,cs->rst", kernel, left, right, optimize=True)
        start = _largest(core, rank, self.operator.kernel)
        if rank < self.full[0]:
            rounds = int(np.clip(_WORK / (core.size * rank), *_ROUNDS))
            turned = np.moveaxis(core, 2, 0).reshape(*self.operator.kernel, *core.shape[:2])
            *kernels, start[0], start[1] = parafac(turned, [*start[2:], *start[:2]], rounds, _RIDGE)
            start[2:] = kernels
        return left @ start[0] * scale, back @ right @ start[1], list(start[2:])

    @cached_property
    def _rooted(self) -> tuple[np.ndarray, np.ndarray, float]:
        """The kernel [O, I, taps] on inputs of which all directions count alike, scaled to norm 1; the way back; the scale."""
        kernel = self.operator.weight.reshape(*self.operator.weight.shape[:2], -1)
        moment = channel_moment(self.operator)
        straight, back = (np.eye(kernel.shape[1]),) * 2 if moment is None else root(moment)
        rooted = np.einsum("oct,cd->odt", kernel, straight, optimize=True)
        scale = float(np.linalg.norm(rooted)) or 1.0
        return rooted / scale, back, scale

    @cached_property
    def _outputs(self) -> np.ndarray:
        kernel = self._rooted[0]
        return descending(np.tensordot(kernel, kernel, axes=((1, 2), (1, 2))))[1]

    @cached_property
    def _inputs(self) -> np.ndarray:
        kernel = self._rooted[0]
        return descending(np.tensordot(kernel, kernel, axes=((0, 2), (0, 2))))[1]

    def _chain(self, left: np.ndarray, right: np.ndarray, kernels: list[np.ndarray]) -> Factors:
        rank, axes = left.shape[1], range(len(kernels))
        several = [axis for axis in axes if self.operator.kernel[axis] > 1]
        stages: list[Stage] = []
        for axis in several:
            shape = [self.operator.kernel[axis] if other == axis else 1 for other in axes]
            spatial = [axis, *(other for other in axes if other not in several)] if axis == several[0] else [axis]
            stages.append(Stage(kernels[axis].T.reshape(rank, 1, *shape), rank, tuple(sorted(spatial))))
        return Factors(self.structure, (rank,), (Stage(right.T), *stages, Stage(left)))


def _largest(core: np.ndarray, rank: int, kernel: tuple[int, ...]) -> list[np.ndarray]:
    """The largest singular components of [outputs, inputs, taps], as factors of outputs, inputs and of each kernel axis.

    They are those of the slices along the principal directions of each kernel axis, which hold more in fewer components than taps do.
    """
    turned = core.reshape(*core.shape[:2], *kernel)
    bases: list[np.ndarray] = []
    for axis in range(2, turned.ndim):
        apart = np.moveaxis(turned, axis, 0).reshape(kernel[axis - 2], -1)
        basis = descending(apart @ apart.T)[1]
        turned = np.moveaxis(np.tensordot(basis.T, turned, axes=((1,), (axis,))), 0, axis)
        bases.append(basis)
    left, values, right = np.linalg.svd(turned.reshape(core.shape).transpose(2, 0, 1), full_matrices=False)
    part, component = np.unravel_index(np.argsort(-values, axis=None, kind="stable")[:rank], values.shape)
    places = np.unravel_index(part, kernel)
    kernels = [basis[:, place] for basis, place in zip(bases, places, strict=True)]
    return [left[part, :, component].T * values[part, component], right[part, component].T, *kernels]


def _balanced(left: np.ndarray, right: np.ndarray, kernels: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """The same sum of products, each component's norm the same in all factors."""
    parts = [left, right, *(kernel for kernel in kernels if len(kernel) > 1)]
    norms = [np.linalg.norm(part, axis=0) for part in parts]
    norms = [np.where(norm > 0, norm, 1.0) for norm in norms]
    mean = np.exp(np.mean([np.log(norm) for norm in norms], axis=0))
    first, second, *rest = (part / norm * mean for part, norm in zip(parts, norms, strict=True))
    following = iter(rest)
    return first, second, [next(following) if len(kernel) > 1 else kernel for kernel in kernels]
