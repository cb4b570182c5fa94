"""resemblyzer: a speaker encoder, three LSTM layers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.zoo.assets import asset
from benchmarks.zoo.audio import ESPEAK_MISSING, MEL_BANDS, RATE, babble, call, can_speak, mel, speak
from benchmarks.zoo.model import Scores, TorchModel, in_batches
from benchmarks.zoo.scoring import auc, cosines, equal_error_rate
from benchmarks.zoo.sessions import Feeds, Run

if TYPE_CHECKING:
    import torch

    from benchmarks.zoo.tracing import Traceable

FRAMES, STEP = 160, 80
"""A window is 1.6 s; windows of an utterance overlap by half."""
VOICES = (
    "en+m1",
    "en+m3",
    "en+m5",
    "en+m7",
    "en+f1",
    "en+f2",
    "en+f4",
    "en+f5",
    "en-us+m2",
    "en-us+f3",
    "en-gb-scotland+m4",
    "en+croak",
)
SAID = (
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "She sells sea shells by the sea shore every sunny morning.",
    "Compressing a neural network should not change what it hears.",
    "My telephone number is five five five, one two three four.",
    "Please open the window before you leave the house tonight.",
)


class ResemblyzerModel(TorchModel):
    """3×LSTM(256) and a projection (resemblyzer)."""

    name = "resemblyzer"
    about = "speaker encoder, 3×LSTM(256), 1.42 M"
    primary = "espeak_eer"
    higher_is_better = False
    source = (Path(__file__).parent / "networks" / "resemblyzer.py",)

    def module(self) -> torch.nn.Module:
        """The trained network."""
        import torch

        from benchmarks.zoo.networks.resemblyzer import SpeakerEncoder

        checkpoint = torch.load(asset("resemblyzer/pretrained.pt", "resemblyzer==0.1.4"), map_location="cpu", weights_only=True)
        network = SpeakerEncoder()
        network.load_state_dict({key: checkpoint["model_state"][key] for key in network.state_dict()})
        return network.eval()

    def trace(self) -> Traceable:
        """Batch and frames are dynamic."""
        import torch

        from benchmarks.zoo.tracing import Traceable

        inputs = {"mels": torch.zeros(2, FRAMES, MEL_BANDS)}
        return Traceable(self.module(), inputs, {"mels": {0: "batch", 1: "frames"}}, "speaker_embedding")

    def feeds(self, count: int, *, batch: int = 1, seed: int = 0) -> list[Feeds]:
        """Windows of synthesised babble, each of another voice."""
        rng = np.random.default_rng(seed)
        seconds = FRAMES * 0.01
        return [{"mels": np.stack([mel(babble(rng, seconds))[:FRAMES] for _ in range(batch)])} for _ in range(count)]

    def score(self, run: Run, original: Run, *, quick: bool) -> Scores:
        """`call_auc`: do windows of the same person of a call match; `espeak_eer`: utterances of 12 voices; `cosine` to the original."""
        scores = Scores()
        windows, speakers = call_windows()
        heard = [windows]
        embedded = in_batches(run, {"mels": windows}, 32)
        pairs = np.triu_indices(len(speakers), 2)
        scores.metrics["call_auc"] = auc((speakers[:, None] == speakers[None])[pairs], (embedded @ embedded.T)[pairs])
        if not can_speak():
            scores.skipped["espeak_eer"] = ESPEAK_MISSING
        else:
            utterances, voices = espeak_windows(3 if quick else len(SAID))
            heard += utterances
            means = np.stack([unit(in_batches(run, {"mels": one}, 32).mean(0)) for one in utterances])
            same, likeness = voices[:, None] == voices[None], means @ means.T
            pairs = np.triu_indices(len(voices), 1)
            scores.metrics["espeak_eer"] = equal_error_rate(same[pairs], likeness[pairs])
            nearest = np.where(np.eye(len(voices), dtype=bool), -np.inf, likeness).argmax(1)
            scores.metrics["espeak_nearest"] = float((voices[nearest] == voices).mean())
        everything = {"mels": np.concatenate(heard)}
        agreement = cosines(in_batches(original, everything, 32), in_batches(run, everything, 32))
        scores.metrics |= {"cosine": float(agreement.mean()), "cosine_min": float(agreement.min())}
        return scores


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector, of length 1."""
    return vector / np.linalg.norm(vector)


def windows_of(frames: np.ndarray) -> np.ndarray:
    """Overlapping windows [windows, 160, 40]; a short utterance is padded to one."""
    if len(frames) < FRAMES:
        return np.pad(frames, ((0, FRAMES - len(frames)), (0, 0)))[None]
    return np.stack([frames[at : at + FRAMES] for at in range(0, len(frames) - FRAMES + 1, STEP)])


@cache
def call_windows() -> tuple[np.ndarray, np.ndarray]:
    """Windows of the recorded call in which one person speaks, and who it is."""
    samples, turns = call()
    names = sorted({turn.speaker for turn in turns})
    speaking = np.zeros((len(names), len(samples)), bool)
    for start, end, speaker in turns:
        speaking[names.index(speaker), int(start * RATE) : int(end * RATE)] = True
    length = FRAMES * RATE // 100
    chosen: list[np.ndarray] = []
    speakers: list[int] = []
    for at in range(0, len(samples) - length, length // 4):
        share = speaking[:, at : at + length].mean(1)
        if share.max() > 0.75 and share.min() < 0.1:
            chosen.append(mel(samples[at : at + length])[:FRAMES])
            speakers.append(int(share.argmax()))
    return np.stack(chosen), np.array(speakers)


@cache
def espeak_windows(sentences: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The windows of each utterance of 12 espeak-ng voices, and the voice's number."""
    said = [(number, text) for number in range(len(VOICES)) for text in SAID[:sentences]]
    return [windows_of(mel(speak(text, VOICES[number]))) for number, text in said], np.array([number for number, _ in said])
