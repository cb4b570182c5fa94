"""Windows of speech by voices that no evaluation hears: what a speaker encoder is calibrated and trained on without labels."""

from __future__ import annotations

import numpy as np

from benchmarks.zoo.audio import mel, speak
from benchmarks.zoo.g2p_gru import SCORED_WORDS, dictionary
from benchmarks.zoo.resemblyzer import FRAMES
from benchmarks.zoo.sessions import Feeds

LANGUAGES = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp")
_NAMES = (
    "m6 m8 klatt klatt2 klatt3 steph steph2 steph3 Andy Annie Gene Lee Michael Mario Storm Tweaky belinda david ed edward linda grandma"
    " grandpa rob robosoft2 zac max marcelo travis victor norbert kaukovalta aunty adam anika"
)
VARIANTS = tuple(_NAMES.split())
"""Of espeak-ng's voices those that are not scored; each is also shifted in pitch, so that there are many more."""
WORDS, HOP = 10, 120
SLOWEST, FASTEST = 0.85, 1.18
"""Factors of pitch and pace."""


def windows(count: int, seed: int) -> np.ndarray:
    """Mel windows [count, frames, bands] in random order, ten random words to an utterance."""
    rng = np.random.default_rng(seed)
    words = [entry.word for entry in dictionary()[SCORED_WORDS:]]
    found: list[np.ndarray] = []
    while len(found) < count:
        voice = f"{rng.choice(LANGUAGES)}+{rng.choice(VARIANTS)}"
        text = " ".join(words[int(rng.integers(len(words)))] for _ in range(WORDS))
        said = speak(text, voice, int(rng.integers(140, 200)))
        heard = np.interp(np.arange(0, len(said) - 1, rng.uniform(SLOWEST, FASTEST)), np.arange(len(said)), said).astype(np.float32)
        frames = mel(heard)
        found.extend(frames[at : at + FRAMES] for at in range(0, len(frames) - FRAMES + 1, HOP))
    return np.stack([found[int(at)] for at in rng.permutation(len(found))[:count]])


def spoken(count: int, *, batch: int, seed: int) -> list[Feeds]:
    """Feeds of resemblyzer."""
    return [{"mels": rows} for rows in np.split(windows(count * batch, seed), count)]
