"""Bit planes as words: weights [planes, words, J] (columns are lanes), inputs [N, planes, words]; rows are padded with zeros.

Of signs (xnor) each row is kept twice, as itself and as its opposite: equal pairs are then ones of `and`, as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.backends.cim.coding import slicing
from netwright.backends.cim.coding.model import Coding

WORDS = 8
"""Words that the kernel takes at once."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the planes of digits and cells are.

    Attributes:
        spans: first input plane of each digit, and the end.
        cells: first weight plane of each cell, and the end.
        lines: first weight plane of each bit line, and the end: a cell has two where columns are subtracted before conversion.
        signs: factor of each weight plane.
    """

    spans: np.ndarray
    cells: np.ndarray
    lines: np.ndarray
    signs: np.ndarray


def layout_of(coding: Coding) -> Layout:
    """Planes of a coding: of an input all its bits, of a cell the bits of its magnitude, of w⁺ and then of w⁻ where it has both."""
    bits = coding.input_bits
    if coding.encoding == "xnor":
        return Layout(*(np.array(one, np.int64) for one in ([0, 1], [0, 1], [0, 1], [1])))
    low = bits - 1 if coding.input_signed else bits
    spans = [*range(0, low, coding.digit_bits), low, *([bits] if coding.input_signed else [])]
    cells, lines, signs = [0], [0], list[int]()
    for _ in slicing.weight_places(coding):
        for sign in (1, -1) if _both(coding) else (1,):
            signs += [sign << bit for bit in range(coding.cell_bits)]
            lines.append(len(signs))
        cells.append(len(signs))
    return Layout(*(np.array(one, np.int64) for one in (spans, cells, lines, signs)))


def padded_rows(holding: int, coding: Coding, word: int) -> int:
    """Rows of a block of `holding`, padded to whole passes of words of `word` bits."""
    rows = holding * (2 if coding.encoding == "xnor" else 1)
    return -(-rows // (WORDS * word)) * WORDS * word


def weight_words(w: np.ndarray, coding: Coding, dtype: np.dtype[np.unsignedinteger]) -> np.ndarray:
    """Words [planes, words, J] of one block's weights [holding, J]."""
    cells = slicing.cells_of(w, coding)
    if coding.encoding == "xnor":
        cells = np.concatenate([cells, 1 - cells], axis=1)
    if _both(coding):
        cells = np.stack([np.maximum(cells, 0), np.maximum(-cells, 0)], axis=1)
    bits = 1 if coding.encoding == "xnor" else coding.cell_bits
    cells = cells.reshape(-1, *cells.shape[-2:]).astype(np.uint8)
    planes = np.stack([(cells >> bit) & 1 for bit in range(bits)], axis=1).reshape(-1, *cells.shape[-2:])
    padded = np.zeros((planes.shape[0], padded_rows(w.shape[0], coding, dtype.itemsize * 8), w.shape[1]), np.uint8)
    padded[:, : planes.shape[1]] = planes
    packed = np.packbits(padded, axis=1, bitorder="little")
    words = packed.reshape(packed.shape[0], -1, dtype.itemsize, w.shape[1])
    total = np.zeros((words.shape[0], words.shape[1], w.shape[1]), dtype)
    for byte in range(dtype.itemsize):
        total |= words[:, :, byte].astype(dtype) << dtype.type(8 * byte)
    return total


def input_bytes(x: np.ndarray, coding: Coding, word: int) -> list[np.ndarray]:
    """Padded bytes [N, rows] of one block's inputs [N, holding], the low byte first; of signs, themselves and their opposites."""
    rows = padded_rows(x.shape[1], coding, word)
    count = 1 if coding.encoding == "xnor" else -(-coding.input_bits // 8)
    parts: list[np.ndarray] = []
    for byte in range(count):
        padded = np.zeros((x.shape[0], rows), np.uint8)
        if coding.encoding == "xnor":
            padded[:, : x.shape[1]] = x > 0
            padded[:, x.shape[1] : 2 * x.shape[1]] = x < 0
        else:
            padded[:, : x.shape[1]] = x.astype(np.uint8, copy=False) if count == 1 else (x.astype(np.int64) >> (8 * byte)).astype(np.uint8)
        parts.append(padded)
    return parts


def _both(coding: Coding) -> bool:
    return coding.encoding == "differential" and coding.subtract == "before"
