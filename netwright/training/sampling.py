"""Training data in an order that a seed and an epoch fix, shared out over processes; going on in the middle is skipping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from netwright.training.sources import Stream, make_source

if TYPE_CHECKING:
    from netwright.data import DataLike
    from netwright.data.items import Batch
    from netwright.ir.program import Program


@dataclass(frozen=True, slots=True)
class Share:
    """Which process this is, of how many."""

    rank: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class Part:
    """One process's batch of a step.

    Attributes:
        batch: arrays by name.
        weight: factor of its loss, so that the mean over processes, summed over accumulated batches, is the mean over all rows. Zero
            for a process that has no rows left and only keeps the others company.
    """

    batch: Batch
    weight: float


class TrainingData:
    """Data to train on; iterating over it gives batches in the order given.

    Arrays that hold everything (an `.npz`, a folder of them, a dict, one array) are shuffled by rows in every epoch and cut into
    batches; of a folder, the files are taken in a drawn order, and rows within each. Lists of batches are shuffled in their order.
    Whatever else can be iterated over (a DataLoader, a generator, a function that makes one) is taken as it comes. With several
    processes each takes its own rows, items, or every n-th batch.

    Args:
        data: whatever `as_batches` takes.
        program: whose inputs the data must fit.
        batch_size: rows to a batch and process, for arrays that hold everything (32 where not given); cuts the items of lists and
            streams too, where given.

    Raises:
        DataError: data of no known form; while iterating, data that does not fit.
    """

    def __init__(self, data: DataLike, program: Program, *, batch_size: int | None = None) -> None:
        self._data: DataLike = data._data if isinstance(data, TrainingData) else data
        self._source = make_source(self._data, program, batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._source)

    @property
    def is_stream(self) -> bool:
        """True where the data itself decides the order."""
        return isinstance(self._source, Stream)

    def describe(self) -> str:
        """How much there is, such as `512 rows`."""
        return self._source.describe()

    def count(self, share: Share, accumulate: int) -> int:
        """How many steps an epoch has; where nothing else tells, by going through it once.

        Raises:
            DataError: the data is a generator, which can be gone through once only.
        """
        draws = self._source.length(share.count)
        if draws is None:
            draws = sum(1 for _ in self._source.draws(np.random.default_rng(0), share.count))
        return -(-draws // accumulate)

    def steps(self, *, seed: int, epoch: int, share: Share, accumulate: int = 1, skip: int = 0) -> Iterator[tuple[Part, ...]]:
        """An epoch's steps, each the batches that this process accumulates.

        Args:
            seed: of the order, together with `epoch`.
            epoch: from 0.
            share: which process this is.
            accumulate: batches to a step.
            skip: how many steps to leave out at the beginning, because they were made before.
        """
        draws = self._source.draws(np.random.default_rng([seed, epoch]), share.count)
        for _ in islice(draws, skip * accumulate):
            pass
        while group := list(islice(draws, accumulate)):
            total = sum(sum(draw.sizes) for draw in group)
            yield tuple(Part(draw.make(share.rank), draw.sizes[share.rank] * share.count / total) for draw in group)
