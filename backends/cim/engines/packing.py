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


LANES = 64
"""Bytes of lanes that columns are padded to: those of a vector of AVX-512."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the planes of digits and cells are.

    Attributes:
        spans: first input plane of each digit, and the end.
        signs: factor of each weight plane of a cell: the bits of its magnitude, of w⁺ and then of w⁻ where it has both.
        line: weight planes of one bit line: a cell has two where columns are subtracted before conversion.
    """

    spans: np.ndarray
    signs: np.ndarray
    line: int


def layout_of(coding: Coding) -> Layout:
    """Planes of a coding: of an input all its bits, of a cell the bits of its magnitude."""
    bits = coding.input_bits
    if coding.encoding == "xnor":
        return Layout(np.array([0, 1], np.int64), np.ones(1, np.int64), 1)
    low = bits - 1 if coding.input_signed else bits
    spans = [*range(0, low, coding.digit_bits), low, *([bits] if coding.input_signed else [])]
    signs = [sign << bit for sign in ((1, -1) if _both(coding) else (1,)) for bit in range(coding.cell_bits)]
    return Layout(np.array(spans, np.int64), np.array(signs, np.int64), coding.cell_bits)


def words_of(holding: int, coding: Coding, word: int) -> int:
    """Words of `word` bits for a block of `holding` rows: of the last pass 1, 2, 4 or all that it takes at once."""
    words = -(-holding * (2 if coding.encoding == "xnor" else 1) // word)
    rest = words % WORDS
    return words - rest + (1 << (rest - 1).bit_length() if rest else 0)


def padded_lanes(lanes: int, dtype: np.dtype[np.integer]) -> int:
    """Lanes filled up to whole vectors."""
    each = LANES // dtype.itemsize
    return -(-lanes // each) * each


def weight_words(w: np.ndarray, coding: Coding, dtype: np.dtype[np.unsignedinteger]) -> np.ndarray:
    """Words [planes of a cell, words, lanes] of one block's weights [holding, J]; lane c · J + j is cell c of column j."""
    cells = slicing.cells_of(w, coding)
    if coding.encoding == "xnor":
        cells = np.concatenate([cells, 1 - cells], axis=1)
    parts = [np.maximum(cells, 0), np.maximum(-cells, 0)] if _both(coding) else [cells]
    bits = 1 if coding.encoding == "xnor" else coding.cell_bits
    planes = np.stack([((part >> bit) & 1).astype(np.uint8) for part in parts for bit in range(bits)])
    planes = planes.transpose(0, 2, 1, 3).reshape(len(planes), cells.shape[1], -1)
    word = dtype.itemsize * 8
    padded = np.zeros((len(planes), words_of(w.shape[0], coding, word) * word, padded_lanes(planes.shape[2], dtype)), np.uint8)
    padded[:, : planes.shape[1], : planes.shape[2]] = planes
    packed = np.packbits(padded, axis=1, bitorder="little")
    words = packed.reshape(packed.shape[0], -1, dtype.itemsize, packed.shape[2])
    total = np.zeros((words.shape[0], words.shape[1], words.shape[3]), dtype)
    for byte in range(dtype.itemsize):
        total |= words[:, :, byte].astype(dtype) << dtype.type(8 * byte)
    return total


def input_bytes(x: np.ndarray, coding: Coding) -> list[np.ndarray]:
    """Bytes [N, K], C-contiguous, of inputs [N, K], the low byte first; of signs, which are 1."""
    if coding.encoding == "xnor":
        return [(x > 0).astype(np.uint8)]
    if coding.input_bits <= 8:
        return [np.ascontiguousarray(x.view(np.uint8) if x.dtype.itemsize == 1 else x.astype(np.uint8))]
    raw = x.astype(np.int64)
    return [(raw >> low).astype(np.uint8) for low in (0, 8)]


def _both(coding: Coding) -> bool:
    return coding.encoding == "differential" and coding.subtract == "before"
