"""Training and test data of the networks that the zoo trains itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.zoo.assets import Sentence, asset, sentences
from benchmarks.zoo.images import TRAINING_DIGITS, mnist, photograph


class Split(NamedTuple):
    """Rows to train on and rows to score on; neither is in the other."""

    inputs: np.ndarray
    labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray


@cache
def digits() -> Split:
    """MNIST-5k, 4,000 and 1,000: [n, 1, 28, 28]."""
    pixels, labels = mnist()
    inputs = ((pixels - 0.13) / 0.31).astype(np.float32)
    return Split(inputs[:TRAINING_DIGITS], labels[:TRAINING_DIGITS], inputs[TRAINING_DIGITS:], labels[TRAINING_DIGITS:])


PHOTOS = (
    "astronaut.png",
    "coffee.png",
    "chelsea.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "ihc.png",
    "retina.jpg",
    "hubble_deep_field.jpg",
    "grass.png",
    "brick.png",
    "china.jpg",
    "flower.jpg",
)
SHORT_SIDE, CROP = 320, 32


@cache
def photo_crops() -> Split:
    """Which of 12 photographs a crop [3, 32, 32] is from: 6,000 from their left 65 %, 1,800 from their right 30 %."""
    rng = np.random.default_rng(0)
    train, test = list[np.ndarray](), list[np.ndarray]()
    for name in PHOTOS:
        picture = _scaled(photograph(name))
        width = picture.shape[1]
        train += [_crop(rng, picture, 0, 0.65 * width - CROP) for _ in range(500)]
        test += [_crop(rng, picture, 0.70 * width, width - CROP) for _ in range(150)]
    labels, test_labels = (np.repeat(np.arange(len(PHOTOS)), len(rows) // len(PHOTOS)) for rows in (train, test))
    return Split(np.stack(train), labels, np.stack(test), test_labels)


def _scaled(image: Image.Image) -> np.ndarray:
    width, height = image.size
    zoom = SHORT_SIDE / min(width, height)
    size = (int(width * zoom), int(height * zoom))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.float32) / 255


def _crop(rng: np.random.Generator, picture: np.ndarray, left: float, right: float) -> np.ndarray:
    y, x = int(rng.integers(0, int(picture.shape[0]) - CROP)), int(rng.integers(int(left), int(right)))
    lit = picture[y : y + CROP, x : x + CROP] * rng.uniform(0.7, 1.2)
    return (lit - 0.5).transpose(2, 0, 1).astype(np.float32)


VOWEL_FRAMES = 29


@cache
def vowels() -> Split:
    """JapaneseVowels (aeon): 270 and 370 utterances of nine speakers, [n, 29, 12]."""
    (inputs, labels), (test_inputs, test_labels) = (_series(part) for part in ("TRAIN", "TEST"))
    return Split(inputs, labels, test_inputs, test_labels)


def _series(part: str) -> tuple[np.ndarray, np.ndarray]:
    """A `.ts` file: channels separated by colons, the label last; short utterances are padded with zeros."""
    path = asset(f"aeon/datasets/data/JapaneseVowels/JapaneseVowels_{part}.ts", "aeon==1.6.0")
    _, _, body = path.read_text(encoding="utf8", errors="replace").partition("@data")
    rows = [line.strip().split(":") for line in body.splitlines() if ":" in line]
    inputs = np.zeros((len(rows), VOWEL_FRAMES, len(rows[0]) - 1), np.float32)
    for row, (*channels, _) in enumerate(rows):
        values = np.array([channel.split(",") for channel in channels], np.float32).T[:VOWEL_FRAMES]
        inputs[row, : len(values)] = values
    return inputs, np.array([int(row[-1]) - 1 for row in rows])


VOCABULARY, TOKENS, TRAINING_SENTENCES, ALL_SENTENCES = 8000, 48, 16000, 20000
PADDING, UNKNOWN = 0, 1


@cache
def sentence_origins() -> Split:
    """Film review, Amazon, NYT or tweet (vaderSentiment): 16,000 and 4,000 sentences as ids [n, 48]."""
    rows = [(number, sentence.text) for number, domain in enumerate(sentences().values()) for sentence in domain]
    order = np.random.default_rng(0).permutation(len(rows))[:ALL_SENTENCES]
    tokens = [re.findall(r"[a-z']+|[^\sa-z']", rows[int(at)][1].lower()) for at in order]
    counts = Counter(token for sentence in tokens[:TRAINING_SENTENCES] for token in sentence)
    frequent = sorted(counts, key=lambda token: (-counts[token], token))[: VOCABULARY - 2]
    ids = {token: number for number, token in enumerate(frequent, start=2)}
    inputs = np.full((len(tokens), TOKENS), PADDING, np.int64)
    for row, sentence in enumerate(tokens):
        cut = sentence[:TOKENS]
        inputs[row, : len(cut)] = [ids.get(token, UNKNOWN) for token in cut]
    labels = np.array([rows[int(at)][0] for at in order])
    at = TRAINING_SENTENCES
    return Split(inputs[:at], labels[:at], inputs[at:], labels[at:])


CHARACTERS = 128
"""Length of a passage."""
HELD_OUT = 150
"""Passages that are scored, from the last 20th of the text."""


@cache
def characters() -> Split:
    """NYT and film sentences as characters: passages of 128, each labelled with the character that follows; 150 held out.

    Training passages start at every 16th character.
    """
    ids = _text()
    border = int(len(ids) * 0.95)
    train = np.lib.stride_tricks.sliding_window_view(ids[:border], CHARACTERS + 1)[:: CHARACTERS // 8]
    test = ids[border : border + (CHARACTERS + 1) * HELD_OUT].reshape(HELD_OUT, CHARACTERS + 1)
    return Split(train[:, :-1], train[:, 1:], test[:, :-1], test[:, 1:])


def _text() -> np.ndarray:
    """The sentences, one a line: 0 is the line's end, 1 to 95 are ASCII's printable characters, `~` also what is not among them."""
    domains = sentences()
    text = "\n".join(sentence.text for domain in ("nyt", "film") for sentence in _stripped(domains[domain]))
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int64)
    printable = np.where((codes >= 32) & (codes < 127), codes - 31, ord("~") - 31)
    return np.where(codes == ord("\n"), 0, printable)


def _stripped(rows: list[Sentence]) -> Iterator[Sentence]:
    return (row._replace(text=row.text.strip()) for row in rows)
