"""More factors than needed, whose product is the weight exactly: to be trained and multiplied back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from netwright.ir.errors import PlanError
from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures.base import Decomposition, Ranks
from netwright.passes.factorize.structures.sizes import blank, rounded

_SEED = 20180219
_SMALL = 0.1
"""Norm of a random row or column beside the identity's 1."""


class Expanded(Decomposition):
    """W = U V or W = U M V with inner sizes of min(m, n) and more, to be trained and multiplied back.

    Starts as an identity: of a tall W, V = [I; S] and U = [W 0]; of a wide one, U = [I S] and V = [W; 0], with small random S. The product
    is W to the last bit, and the zeros get a gradient through S at the first step. A third factor is [I 0; S S'] (or its mirror image).
    Of convolutions the kernel with its stride, padding and dilation stays one stage, and the others are 1×1: after it where it has fewer
    outputs than inputs, before it otherwise, and on both sides with two inner sizes (that of the outputs first). Sizes are of each group.
    Random numbers are seeded by a constant. Sources: Arora et al., ICML 2018; ExpandNets, Guo et al., NeurIPS 2020.
    """

    structure = "expanded"

    @classmethod
    def refusal(cls, operator: Operator) -> str | None:
        """Tables, transposed convolutions and recurrent states."""
        if operator.kind not in ("linear", "conv", "recurrent"):
            return f"only products and convolutions are expanded, not the kind {operator.kind}"
        return None

    @property
    def full(self) -> Ranks:
        """(min(m, n),), the least inner size."""
        return (min(self._sizes),)

    def ranks_for(self, parameters: int, round_to: int = 1) -> Ranks | None:
        """The largest inner size of two factors that fits."""
        least = self.full[0]
        each = self.parameters((2,)) - self.parameters((1,))
        inner = parameters // each
        return (max(rounded(inner, round_to), least),) if inner >= least else None

    def parameters(self, ranks: Ranks) -> int:
        """Elements of two factors or three."""
        return self.shapes(ranks).parameters

    def error(self, ranks: Ranks) -> float:
        """None: the product is the weight."""
        self._require(ranks)
        return 0.0

    def factors(self, ranks: Ranks) -> Factors:
        """Stages whose product is the weight to the last bit."""
        self._require(ranks)
        groups, (outputs, inputs) = self.operator.groups, self._sizes
        generator = np.random.default_rng(_SEED)
        weight = self.operator.weight.reshape(groups, outputs, inputs, -1)
        spread = [_spread(generator, groups, size, ranks[0 if after else -1]) for after, size in self._ends(ranks)]
        if self._is_conv and len(ranks) == 2:
            after, before = spread
            kernel = _padded(weight, ranks[0], ranks[1])
            return self._chain(ranks, [np.swapaxes(before, 1, 2), kernel, after])
        after = self._after
        if len(ranks) == 1:
            (end,) = spread
            parts = [_padded(weight, ranks[0], inputs), end] if after else [np.swapaxes(end, 1, 2), _padded(weight, outputs, ranks[0])]
            return self._chain(ranks, parts)
        (end,) = spread
        middle = _middle(generator, groups, min(self._sizes), ranks if not after else ranks[::-1])
        if after:
            return self._chain(ranks, [_padded(weight, ranks[1], inputs), np.swapaxes(middle, 1, 2), end])
        return self._chain(ranks, [np.swapaxes(end, 1, 2), middle, _padded(weight, outputs, ranks[0])])

    def shapes(self, ranks: Ranks) -> Factors:
        """Stages of broadcast zeros."""
        groups, taps, (outputs, inputs) = self.operator.groups, self.operator.taps, self._sizes
        sizes = [inputs, *ranks[::-1], outputs]
        carries = self._kernel_at(len(ranks))
        parts = [blank(groups, size, before, *([taps] if index == carries else [])) for index, (before, size) in enumerate(pairwise(sizes))]
        return self._chain(ranks, parts)

    @property
    def _sizes(self) -> tuple[int, int]:
        """Outputs and inputs of a group."""
        return self.operator.weight.shape[0] // self.operator.groups, self.operator.weight.shape[1]

    @property
    def _is_conv(self) -> bool:
        return self.operator.kind == "conv"

    @property
    def _after(self) -> bool:
        """Whether the identity is on the side of the outputs."""
        return self._sizes[0] < self._sizes[1]

    def _kernel_at(self, inner: int) -> int:
        """Which stage is the weight's."""
        if self._is_conv and inner == 2:
            return 1
        return 0 if self._after else inner

    def _ends(self, ranks: Ranks) -> list[tuple[bool, int]]:
        """The stages that start as an identity at either end: whether it is that of the outputs, and its size."""
        outputs, inputs = self._sizes
        if self._is_conv and len(ranks) == 2:
            return [(True, outputs), (False, inputs)]
        return [(self._after, min(self._sizes))]

    def _require(self, ranks: Ranks) -> None:
        outputs, inputs = self._sizes
        least = least_sizes(self.operator, len(ranks) + 1)
        if len(ranks) not in (1, 2) or any(rank < size for rank, size in zip(ranks, least, strict=True)):
            raise PlanError(
                f"expanded takes one inner size of at least {min(outputs, inputs)}, or two of at least {(*least, *least)[:2]}.",
                place=f"ranks={list(ranks)}",
                remedy="Give larger ones: smaller ones lose something.",
            )

    def _chain(self, ranks: Ranks, parts: list[np.ndarray]) -> Factors:
        """Stages of arrays [groups, outputs, inputs (, taps)] in the order of application."""
        groups, kernel = self.operator.groups, self.operator.kernel
        stages: list[Stage] = []
        for index, part in enumerate(parts):
            shape = (part.shape[0] * part.shape[1], part.shape[2])
            carries = self._is_conv and index == self._kernel_at(len(ranks))
            stages.append(
                Stage(part.reshape(*shape, *kernel), groups, tuple(range(len(kernel)))) if carries else Stage(part.reshape(shape), groups)
            )
        return Factors(self.structure, ranks, tuple(stages))


def least_sizes(operator: Operator, factors: int) -> Ranks:
    """The least inner sizes with which an operator is a product of so many factors."""
    outputs, inputs = operator.weight.shape[0] // operator.groups, operator.weight.shape[1]
    if operator.kind == "conv" and factors == 3:
        return outputs, inputs
    return (min(outputs, inputs),) * (factors - 1)


def _spread(generator: np.random.Generator, groups: int, size: int, inner: int) -> np.ndarray:
    """[I S], [groups, size, inner], S with columns of norm about 0.1."""
    small = generator.standard_normal((groups, size, inner - size)) * (_SMALL / np.sqrt(size))
    return np.concatenate([np.broadcast_to(np.eye(size), (groups, size, size)), small], axis=2)


def _middle(generator: np.random.Generator, groups: int, size: int, inner: tuple[int, ...]) -> np.ndarray:
    """[I 0; S S'], [groups, inner₁, inner₂], the identity of `size`."""
    first, second = inner
    small = generator.standard_normal((groups, first - size, second)) * (_SMALL / np.sqrt(second))
    top = np.broadcast_to(np.eye(size, second), (groups, size, second))
    return np.concatenate([top, small], axis=1)


def _padded(weight: np.ndarray, outputs: int, inputs: int) -> np.ndarray:
    """A weight [groups, o, i, taps] with zeros after its outputs and inputs."""
    groups, o, i, taps = weight.shape
    padded = np.zeros((groups, outputs, inputs, taps))
    padded[:, :o, :i] = weight
    return padded
