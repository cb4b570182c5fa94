"""torch's generators during a run: seeded, saved in checkpoints, and the caller's own given back afterwards."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

T = TypeVar("T")


@contextmanager
def seeded(seed: int, rank: int, *, threads: int | None) -> Generator[None]:
    """Seed torch for one process of a run, and set its threads; both are as before afterwards.

    Args:
        seed: of the run.
        rank: of the process: each drops out its own.
        threads: on the CPU; as they are where not given.
    """
    before = torch.get_num_threads()
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(_mix(seed, rank))
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def generator_states() -> dict[str, torch.Tensor]:
    """The states of the generators that this process uses: the CPU's, and the current GPU's where there is one."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_generator_states(states: Mapping[str, torch.Tensor]) -> None:
    """Go on drawing where the states were taken."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def with_own_draws(items: Iterator[T], seed: int, epoch: int) -> Iterator[T]:
    """Go through a stream while torch's CPU generator is the stream's own.

    So the order in which a shuffling DataLoader gives its batches follows from seed and epoch alone, the same in every process and
    after resuming, and reading data draws nothing away from dropout.
    """
    state = torch.Generator().manual_seed(_mix(seed, epoch, 1)).get_state()
    while True:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            try:
                item = next(items)
            except StopIteration:
                return
            state = torch.get_rng_state()
        yield item


def _mix(*numbers: int) -> int:
    """One seed of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
