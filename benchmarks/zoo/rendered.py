"""Text rendered with the system's fonts, with exact labels: lines and pages."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmarks.zoo.assets import asset
from benchmarks.zoo.images import Box

FONT_FOLDER = Path("/usr/share/fonts/truetype")
NOT_LETTERS = ("Symbol", "Dings", "Math")
FONTS_MISSING = f"no TrueType fonts in {FONT_FOLDER}: `apt-get install fonts-dejavu-core fonts-liberation`"
PAGE = 640
"""Side of a page in pixels."""


class Line(NamedTuple):
    """A line of text as an image [height, width, 3], uint8, in blue, green, red order, and what it says."""

    image: np.ndarray
    text: str


class Page(NamedTuple):
    """A page [640, 640, 3], as in `Line`, and where its lines stand."""

    image: np.ndarray
    boxes: list[Box]


@cache
def fonts() -> list[str]:
    """The installed TrueType fonts that hold letters; empty when there are none."""
    return [str(path) for path in sorted(FONT_FOLDER.glob("*/*.ttf")) if not any(word in path.name for word in NOT_LETTERS)]


@cache
def words(corpus: str) -> list[str]:
    """The words of one of gensim's news corpora: `lee_background.cor` for scores, `lee.cor` for calibration."""
    text = asset(f"gensim/test/test_data/{corpus}", "gensim==4.4.0").read_text(encoding="utf8", errors="replace")
    return [word for word in text.split() if word.isascii() and any(letter.isalnum() for letter in word)]


def line(rng: np.random.Generator, vocabulary: list[str]) -> Line:
    """One to four words, dark on light, some blurred, all with noise."""
    at = rng.integers(0, len(vocabulary) - 6)
    text = " ".join(vocabulary[at : at + rng.integers(1, 5)])
    size = int(rng.integers(18, 44))
    font = ImageFont.truetype(fonts()[rng.integers(len(fonts()))], size)
    left, top, right, bottom = font.getbbox(text)
    paper, ink, margin = int(rng.integers(170, 256)), _ink(rng, 90), int(rng.integers(3, 8))
    image = Image.new("RGB", (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin), (paper, paper, paper))
    ImageDraw.Draw(image).text((margin - left, margin - top), text, fill=ink, font=font)
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.0))))
    return Line(_grainy(rng, image, rng.uniform(0, 8)), text)


def page(rng: np.random.Generator, vocabulary: list[str]) -> Page:
    """Lines of different sizes below one another."""
    paper = int(rng.integers(200, 256))
    image = Image.new("RGB", (PAGE, PAGE), (paper, paper, paper))
    draw = ImageDraw.Draw(image)
    y, boxes = int(rng.integers(10, 60)), list[Box]()
    while y < PAGE - 60:
        size = int(rng.integers(16, 40))
        font = ImageFont.truetype(fonts()[rng.integers(len(fonts()))], size)
        at, x = rng.integers(0, len(vocabulary) - 8), int(rng.integers(10, 200))
        text = _fitting(vocabulary[at : at + int(rng.integers(1, 8))], font, PAGE - 15 - x)
        if text:
            draw.text((x, y), text, fill=_ink(rng, 100), font=font)
            boxes.append(draw.textbbox((x, y), text, font=font))
        y += int(size * rng.uniform(1.9, 3.0))
    return Page(_grainy(rng, image, 4), boxes)


def _fitting(candidates: list[str], font: ImageFont.FreeTypeFont, width: float) -> str:
    """As many of the words as fit."""
    text = ""
    for word in candidates:
        if font.getlength(f"{text} {word}") > width:
            break
        text = f"{text} {word}".strip()
    return text


def _ink(rng: np.random.Generator, brightest: int) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in rng.integers(0, brightest, 3))
    return red, green, blue


def _grainy(rng: np.random.Generator, image: Image.Image, grain: float) -> np.ndarray:
    pixels = np.asarray(image, np.float32)
    noise = rng.normal(0, grain, (*pixels.shape[:2], 1))
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)[:, :, ::-1]


def to_height(image: np.ndarray, height: int, width: int, *, grow: bool = False) -> np.ndarray:
    """A line scaled to `height` and padded or cut to `width`, as networks read it: [1, 3, height, width] from -1 to 1.

    With `grow` a longer line keeps its width.
    """
    scaled_width = max(8, round(height * image.shape[1] / image.shape[0]))
    scaled = Image.fromarray(np.ascontiguousarray(image)).resize((scaled_width, height), Image.Resampling.BILINEAR)
    room = max(width, scaled_width) if grow else width
    pixels = np.asarray(scaled, np.float32)[:, :room]
    canvas = np.zeros((3, height, room), np.float32)
    canvas[:, :, : pixels.shape[1]] = signed(pixels)
    return canvas[None]


def signed(pixels: np.ndarray) -> np.ndarray:
    """[h, w, 3] from 0 to 255 → [3, h, w] from -1 to 1."""
    return ((pixels.transpose(2, 0, 1) / 255 - 0.5) / 0.5).astype(np.float32)
