"""silero: a voice activity detector; its STFT is written as a convolution."""

from __future__ import annotations

import numpy as np

from benchmarks.zoo.audio import ESPEAK_MISSING, RATE, babble, call, can_speak, pink_noise, power, speak
from benchmarks.zoo.model import PackagedModel, Scores, first
from benchmarks.zoo.scoring import auc, f1
from benchmarks.zoo.sessions import Feeds, Run

FRAME, CONTEXT = 512, 64
"""Samples that each step reads anew, and those that it sees again."""
UNSURE = 0.1
"""Seconds around a change of speaker that are not scored."""
SAID = (
    "please call me back tomorrow morning",
    "the weather is fine today",
    "neural networks can be compressed",
    "open the window and close the door",
    "one two three four five six",
    "where is the nearest railway station",
)
VOICES = ("en", "en+f3", "en-us+m3", "en+f5", "en-us")


class SileroModel(PackagedModel):
    """STFT as Conv1d, four convolutions, LSTM(128) (silero-vad, 16 kHz, whole sequences)."""

    name = "silero"
    about = "voice activity: STFT as Conv, 4 Conv, LSTM(128), 0.31 M"
    primary = "noisy_f1"
    file = "silero_vad/data/silero_vad_16k_sequence.onnx"
    requirement = "silero-vad==6.2.3"

    def feeds(self, count: int, *, batch: int = 1, seed: int = 0) -> list[Feeds]:
        """Synthesised babble; `batch` counts seconds, and frames follow one another along the first axis."""
        rng = np.random.default_rng(seed)
        return [frames_of(noisy(rng, babble(rng, batch))) for _ in range(count)]

    def score(self, run: Run, original: Run, *, quick: bool) -> Scores:
        """F1 and area under the curve: `noisy_` with pink noise at 0 dB, `clean_` without, `espeak_` synthesised in 5 dB noise."""
        clean, speech, sure = labelled_call()
        noise = pink_noise(np.random.default_rng(5), len(clean))
        noise *= np.sqrt(power(clean[: len(speech) * FRAME][np.repeat(speech, FRAME)]) / power(noise))
        sets = {"noisy": ((clean + noise).astype(np.float32), speech, sure)}
        if not quick:
            sets["clean"] = (clean, speech, sure)
        scores = Scores()
        if quick:
            scores.skipped["espeak_f1"] = "quick"
        elif not can_speak():
            scores.skipped["espeak_f1"] = ESPEAK_MISSING
        else:
            sets["espeak"] = synthesised()
        for name, (samples, voiced, scored) in sets.items():
            probability = first(run(frames_of(samples))).ravel()
            scores.metrics[f"{name}_f1"] = f1(voiced[scored], probability[scored] > 0.5)
            scores.metrics[f"{name}_auc"] = auc(voiced[scored], probability[scored])
        return scores


def frames_of(samples: np.ndarray) -> Feeds:
    """All frames of a recording, each with the end of the one before it, and a state of zeros."""
    count = len(samples) // FRAME
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), samples[: count * FRAME]])
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME + CONTEXT)[::FRAME]
    return {"input": np.ascontiguousarray(frames), "h": np.zeros((1, 1, 128), np.float32), "c": np.zeros((1, 1, 128), np.float32)}


def noisy(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """The samples in pink noise of a random level, at a random loudness."""
    noise = pink_noise(rng, len(samples))
    noise *= np.sqrt((power(samples) + 1e-9) / power(noise) / 10 ** rng.uniform(0, 3))
    return ((samples + noise) * rng.uniform(0.3, 1.5)).astype(np.float32)


def labelled_call() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The recorded call, which frames are speech, and which are sure to be one or the other."""
    samples, turns = call()
    middle = (np.arange(len(samples) // FRAME) + 0.5) * FRAME / RATE
    speech, sure = np.zeros(len(middle), bool), np.ones(len(middle), bool)
    for start, end, _ in turns:
        speech |= (middle >= start) & (middle < end)
        sure &= (np.abs(middle - start) >= UNSURE) & (np.abs(middle - end) >= UNSURE)
    return samples, speech, sure


def synthesised(seconds: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sentences of espeak-ng at known places in pink noise of 5 dB, labelled as in `labelled_call`."""
    rng = np.random.default_rng(3)
    samples, active = np.zeros(RATE * seconds, np.float32), np.zeros(RATE * seconds, bool)
    at, number = RATE // 2, 0
    while True:
        said = speak(SAID[number % len(SAID)], VOICES[number % len(VOICES)], int(rng.integers(130, 190)))
        if at + len(said) > len(samples) - RATE // 4:
            break
        samples[at : at + len(said)] = said / (np.abs(said).max() + 1e-9) * 0.4
        envelope = np.convolve(np.abs(said), np.ones(RATE // 10) / (RATE // 10), "same")
        active[at : at + len(said)] = envelope > 0.03 * envelope.max()
        at += len(said) + int(rng.uniform(0.6, 2.0) * RATE)
        number += 1
    noise = pink_noise(rng, len(samples))
    noise *= np.sqrt(power(samples[active]) / power(noise) / 10**0.5)
    share = active[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).mean(1)
    return (samples + noise).astype(np.float32), share > 0.5, (share < 0.05) | (share > 0.95)
