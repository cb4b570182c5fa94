"""Gradients of a loss with respect to weights and inner values, for passes that judge what matters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from netwright.training.extra import require_extra

if TYPE_CHECKING:
    import numpy as np

    from netwright.ir.program import Program
    from netwright.passes.context import Feeds, Loss
    from netwright.training.terms import LossLike


@dataclass(frozen=True, slots=True)
class TorchGradients:
    """`Gradients` of a pass's context, on torch; torch is loaded when they are asked for.

    Attributes:
        threads: of torch on the CPU; as they are where not given.
    """

    threads: int | None = None

    def weights(self, program: Program) -> frozenset[str]:
        """Names of the weights that have gradients."""
        require_extra("gradients")
        from netwright.training.backward import trainable

        return trainable(program)

    def of(self, program: Program, batches: Iterable[Feeds], loss: Loss, values: Sequence[str]) -> dict[str, np.ndarray]:
        """The mean over batches of the loss's gradient; see `netwright.training.backward.mean_gradients`."""
        return self._mean(program, batches, loss, values, squared=False)

    def squares(self, program: Program, batches: Iterable[Feeds], loss: Loss, values: Sequence[str]) -> dict[str, np.ndarray]:
        """The mean over batches of the squared gradient, element by element."""
        return self._mean(program, batches, loss, values, squared=True)

    def each(self, program: Program, batches: Iterable[Feeds], loss: Loss, values: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        """Each batch's gradient, one after the other."""
        require_extra("gradients")
        from netwright.training.backward import batch_gradients

        return batch_gradients(program, batches, cast("LossLike", loss), values, threads=self.threads)

    def _mean(
        self, program: Program, batches: Iterable[Mapping[str, np.ndarray]], loss: Loss, values: Sequence[str], *, squared: bool
    ) -> dict[str, np.ndarray]:
        require_extra("gradients")
        from netwright.training.backward import mean_gradients

        return mean_gradients(program, batches, cast("LossLike", loss), values, squared=squared, threads=self.threads)
