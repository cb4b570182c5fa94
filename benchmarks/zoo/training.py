"""Train a small network to the end of a fixed number of steps, the same way every time."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch.nn import functional as F

from benchmarks.zoo.splits import Split

WARM_UP = 30
"""Steps until the learning rate is reached."""
WEIGHT_DECAY, LARGEST_GRADIENT = 0.05, 1.0
LARGEST_SHIFT = 2
"""Pixels by which images are moved at random."""


@contextmanager
def reproducible() -> Generator[None]:
    """One thread and seed 0 inside; what was set before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)


@reproducible()
def train(network: torch.nn.Module, split: Split, *, steps: int, batch: int, rate: float, shifts: bool) -> torch.nn.Module:
    """AdamW on cross entropy, with a warm-up and a linear fall of the learning rate; the network is trained in place.

    One thread and fixed seeds, so that the weights depend neither on the number of cores nor on what ran before.

    Args:
        network: inputs [batch, …] → logits [batch, …, classes].
        split: its training half is read.
        steps: updates.
        batch: rows a step, drawn with replacement.
        rate: the highest learning rate.
        shifts: whether the rows are images, moved by up to two pixels.
    """
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=WEIGHT_DECAY)
    network.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / WARM_UP) * (1 - step / steps) + 1e-6
        rows = torch.randint(0, len(split.inputs), (batch,), generator=generator).numpy()
        inputs, labels = torch.from_numpy(split.inputs[rows]), torch.from_numpy(split.labels[rows])
        if shifts:
            down, right = torch.randint(-LARGEST_SHIFT, LARGEST_SHIFT + 1, (2,), generator=generator)
            inputs = inputs.roll((int(down), int(right)), (2, 3))
        loss = F.cross_entropy(network(inputs).flatten(0, -2), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimizer.step()
    return network.eval()
