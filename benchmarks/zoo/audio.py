"""Real and synthesised speech, noise, and mel frames."""
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from functools import cache
from typing import NamedTuple

import numpy as np

from benchmarks.zoo.assets import asset

RATE = 16000
"""Samples a second, everywhere."""
PYANNOTE = "pyannote.audio==4.0.7"
ESPEAK_MISSING = "espeak-ng is not installed: `apt-get install espeak-ng`"
MEL_BANDS, WINDOW, HOP = 40, 400, 160


class Turn(NamedTuple):
    """Who speaks from when to when, in seconds."""

    start: float
    end: float
    speaker: str


@cache
def call() -> tuple[np.ndarray, tuple[Turn, ...]]:
    """30 s of a telephone call between two people, and who speaks when, as people labelled it (pyannote.audio's sample)."""
    samples = read_wave(asset("pyannote/audio/sample/sample.wav", PYANNOTE).read_bytes())
    rows = [line.split() for line in asset("pyannote/audio/sample/sample.rttm", PYANNOTE).read_text().splitlines()]
    return samples, tuple(Turn(float(row[3]), float(row[3]) + float(row[4]), row[7]) for row in rows)


def read_wave(content: bytes) -> np.ndarray:
    """A 16-bit mono wave file as float32 between -1 and 1 at 16 kHz, resampled linearly where need be."""
    with wave.open(io.BytesIO(content)) as file:
        rate, raw = file.getframerate(), file.readframes(file.getnframes())
    samples = np.frombuffer(raw[: len(raw) // 2 * 2], np.int16).astype(np.float32) / 32768
    if rate == RATE:
        return samples
    times = np.arange(int(len(samples) * RATE / rate)) * rate / RATE
    return np.interp(times, np.arange(len(samples)), samples).astype(np.float32)


def can_speak() -> bool:
    """Whether espeak-ng is installed."""
    return shutil.which("espeak-ng") is not None


def speak(text: str, voice: str, words_per_minute: int = 175) -> np.ndarray:
    """The text as espeak-ng says it, at 16 kHz."""
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "--stdout", text]
    return read_wave(subprocess.run(command, capture_output=True, check=True).stdout)


def pink_noise(rng: np.random.Generator, length: int) -> np.ndarray:
    """Noise whose power falls with frequency, as a room's does."""
    spectrum = np.fft.rfft(rng.normal(size=length))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return np.fft.irfft(spectrum, length)


def power(samples: np.ndarray) -> float:
    """Mean square."""
    return float((samples**2).mean())


VOWELS = ((730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240), (640, 1190, 2390))
"""First three formants in Hz of six English vowels (Peterson and Barney, 1952)."""


def babble(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Speech-like sound of one random voice: vowels, hisses and pauses (a pulse train through formant filters; Klatt, 1980).

    It needs nothing but this file, so that calibration data is the same on every machine, and it is none of the recordings
    that scores are taken on.
    """
    pitch, tract = rng.uniform(85, 240), rng.uniform(0.9, 1.2)
    wanted, pieces, length = int(seconds * RATE), list[np.ndarray](), 0
    while length < wanted:
        makers = (_vowel, _vowel, _hiss, _pause) if pieces else (_pause,)
        piece = makers[rng.integers(len(makers))](rng, pitch, tract)
        pieces.append(piece)
        length += len(piece)
    return (np.concatenate(pieces)[:wanted] + rng.normal(0, 10 ** rng.uniform(-4, -2), wanted)).astype(np.float32)


def _vowel(rng: np.random.Generator, pitch: float, tract: float) -> np.ndarray:
    samples = int(RATE * rng.uniform(0.1, 0.3))
    glide = pitch * (1 + 0.15 * np.sin(np.linspace(rng.uniform(0, 6), rng.uniform(0, 6), samples)))
    phase = np.cumsum(glide) / RATE
    source = np.diff(np.floor(phase), prepend=0.0) - glide.mean() / RATE
    return _shaped(_resonated(source, VOWELS[rng.integers(len(VOWELS))], tract), rng)


def _hiss(rng: np.random.Generator, pitch: float, tract: float) -> np.ndarray:
    del pitch
    noise = rng.normal(size=int(RATE * rng.uniform(0.04, 0.12)))
    return 0.3 * _shaped(_resonated(noise, (2500, 4500, 6000), tract), rng)


def _pause(rng: np.random.Generator, pitch: float, tract: float) -> np.ndarray:
    del pitch, tract
    return np.zeros(int(RATE * rng.choice([0.05, 0.1, 0.8], p=[0.5, 0.4, 0.1])))


def _resonated(source: np.ndarray, formants: tuple[int, ...], tract: float) -> np.ndarray:
    from scipy.signal import lfilter

    for formant in formants:
        radius = np.exp(-np.pi * (60 + 0.04 * formant) / RATE)
        turn = 2 * np.pi * min(formant * tract, 0.45 * RATE) / RATE
        source = np.asarray(lfilter([1 - radius], [1, -2 * radius * np.cos(turn), radius**2], source))
    return source


def _shaped(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    loudness = rng.uniform(0.1, 0.4) / (np.abs(samples).max() + 1e-9)
    return samples * loudness * np.hanning(len(samples) + 2)[1:-1] ** 0.3


@cache
def mel_filters() -> np.ndarray:
    """Slaney's mel filter bank [40, 201], as librosa.filters.mel makes it."""

    def to_mel(hertz: float) -> float:
        return hertz * 3 / 200 if hertz < 1000 else 15 + np.log(hertz / 1000) / (np.log(6.4) / 27)

    def to_hertz(mels: np.ndarray) -> np.ndarray:
        return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))

    edges = to_hertz(np.linspace(0, to_mel(RATE / 2), MEL_BANDS + 2))
    slopes = edges[:, None] - np.linspace(0, RATE / 2, WINDOW // 2 + 1)[None]
    widths = np.diff(edges)
    triangles = np.minimum(-slopes[:-2] / widths[:-1, None], slopes[2:] / widths[1:, None])
    return np.maximum(0, triangles) * (2 / (edges[2:] - edges[:-2]))[:, None]


def mel(samples: np.ndarray) -> np.ndarray:
    """Power mel frames [frames, 40], 10 ms apart, of samples raised to -30 dB where they are quieter."""
    decibels = 20 * np.log10(np.sqrt(power(samples)) + 1e-9)
    padded = np.pad(samples * 10 ** (max(0.0, -30 - decibels) / 20), WINDOW // 2)
    hann = np.hanning(WINDOW + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * hann
    return (np.abs(np.fft.rfft(frames)) ** 2 @ mel_filters().T).astype(np.float32)
