"""Programs with something changed in what their files say: what a forger would write who signs it anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeAlias, cast

import numpy as np

from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.program.plain import Blob, Plain
from netwright.backends.cim.program.records import to_plain

Place: TypeAlias = "tuple[str | int, ...]"
PAIR: Plain = [0, 1]
STRANGE: Sequence[Plain] = (None, True, -1, 0, 1, 2**31, 2**53, -(2**53), 0.5, 1e300, "", "x", "\x00", [], {}, PAIR, [PAIR, PAIR])


def forged(chip: ChipProgram, rng: np.random.Generator, changes: int) -> tuple[dict[str, Plain], list[Blob]]:
    """A program's plain data and blobs, with some changes; those that could pass for sound are the more likely."""
    plain, blobs = to_plain(chip)
    copy = cast("dict[str, Plain]", json.loads(json.dumps(plain)))
    for _ in range(changes):
        if rng.random() < 0.15 and blobs:
            _change_blob(blobs, rng)
        else:
            _change(copy, rng)
    return copy, blobs


def _change(data: dict[str, Plain], rng: np.random.Generator) -> None:
    """Change one part: numbers by little, names for others, lists by one item, anything for something strange."""
    root = list(data)[int(rng.integers(len(data)))]
    places = list(_places(data[root], (root,)))
    place = places[int(rng.integers(len(places)))]
    holder = cast("Plain", data)
    for key in place[:-1]:
        holder = cast("dict[str | int, Plain]", holder)[key]
    found = cast("dict[str | int, Plain]", holder)
    old, last = found[place[-1]], place[-1]
    if rng.random() < 0.1:
        found[last] = STRANGE[int(rng.integers(len(STRANGE)))]
    elif isinstance(old, list):
        _change_list(old, rng)
    elif isinstance(old, dict) and old:
        del old[list(old)[int(rng.integers(len(old)))]]
    elif type(old) is int:
        near, far = old + int(rng.integers(-9, 10)), 2 ** int(rng.integers(0, 50))
        found[last] = (old + 1, old - 1, old * 2, -old, 0, near, far)[int(rng.integers(7))]
    elif isinstance(old, float):
        found[last] = [old * 2, -old, 0.0, old * 1e30, old * 1e-30][int(rng.integers(5))]
    elif isinstance(old, str):
        names = [value for value in _values(data) if isinstance(value, str)]
        found[last] = names[int(rng.integers(len(names)))]
    elif isinstance(old, bool):
        found[last] = not old


def _change_list(items: list[Plain], rng: np.random.Generator) -> None:
    if not items:
        items.append(STRANGE[int(rng.integers(len(STRANGE)))])
        return
    one, other = (int(rng.integers(len(items))) for _ in range(2))
    match int(rng.integers(4)):
        case 0:
            del items[one]
        case 1:
            items.insert(other, json.loads(json.dumps(items[one])))
        case 2:
            items[one], items[other] = items[other], items[one]
        case _:
            items[one] = json.loads(json.dumps(items[other]))


def _change_blob(blobs: list[Blob], rng: np.random.Generator) -> None:
    """Other bytes in a model or an array, or another shape or type."""
    number = int(rng.integers(len(blobs)))
    one = blobs[number]
    if len(one) == 0:
        return
    if isinstance(one, bytes):
        raw = bytearray(one)
        for place in rng.integers(0, len(raw), int(rng.integers(1, 4))):
            raw[place] = int(rng.integers(0, 256))
        blobs[number] = bytes(raw)
    elif rng.random() < 0.4:
        blobs[number] = [one.reshape(-1), one.reshape(1, *one.shape), one[:0], one[:-1], one.astype(np.int32), one.T][int(rng.integers(6))]
    else:
        flat = one.copy().reshape(-1)
        flat[int(rng.integers(len(flat)))] = [0, 127, np.iinfo(np.int8).min][int(rng.integers(3))]
        blobs[number] = flat.reshape(one.shape)


def _places(data: Plain, at: Place) -> list[Place]:
    found = [at]
    if isinstance(data, list):
        for index, one in enumerate(data):
            found += _places(one, (*at, index))
    elif isinstance(data, dict):
        for name, one in data.items():
            found += _places(one, (*at, name))
    return found


def _values(data: Plain) -> list[Plain]:
    if isinstance(data, list):
        return [value for one in data for value in _values(one)]
    if isinstance(data, dict):
        return [value for one in data.values() for value in _values(one)]
    return [data]
