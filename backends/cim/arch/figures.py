"""A chip figure by figure: every field with its value and what it means, for tables."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache

from netwright.backends.cim.arch.model import Arch


@dataclass(frozen=True, slots=True)
class Figure:
    """One field of a chip.

    Attributes:
        path: from the chip's top, with dots, as it is nested in YAML.
        value: as the chip has it.
        help: what it means.
    """

    path: str
    value: object
    help: str


def figures(arch: Arch) -> tuple[Figure, ...]:
    """Every field of a chip, in the order of `model`; parts that it does not have are one field of value None."""
    return tuple(_figures(arch, ""))


def resolution(arch: Arch) -> str:
    """Whether the chip's sums are exact, and what a code stands for where they are not, in a sentence."""
    array, adc = arch.array, arch.array.adc
    share = (2**array.cell_bits - 1) * (2**array.digit_bits - 1)
    largest = array.active_rows * share
    if adc is None:
        return f"Exact: sums up to {largest:,} are added digitally."
    signed = adc.subtract == "before"
    codes, sums = 2 ** (adc.bits - signed) - 1, f"sums up to {largest:,}" + (" to either side" if signed else "")
    if adc.mode == "charge":
        return f"Charge: {sums} share {codes:,} steps, exactly where at most {codes // share:,} rows are enabled."
    if adc.mode == "range":
        low, high = (adc.low, adc.high) if adc.high != adc.low else (-largest if signed else 0, largest)
        return f"Range: {codes * (1 + signed):,} steps for sums from {low:,} to {high:,}; others saturate."
    step = adc.step or 1
    while adc.mode == "step" and not adc.step and codes * step < largest:
        step *= 2
    if step == 1 and codes >= largest:
        return f"Exact: {sums} have a code each, of {codes:,}."
    return f"A code stands for {step:,} of {sums}; what exceeds {codes * step:,} saturates."


def _figures(part: object, prefix: str) -> Iterator[Figure]:
    helps = _helps(type(part))
    for one in fields(part):  # pyright: ignore[reportArgumentType]
        value: object = getattr(part, one.name)
        if is_dataclass(value):
            yield from _figures(value, f"{prefix}{one.name}.")
        else:
            yield Figure(f"{prefix}{one.name}", value, helps.get(one.name, ""))


@cache
def _helps(cls: type) -> dict[str, str]:
    """The entries under `Attributes:` in a class's docstring, each on one line."""
    text = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.split(r"^    (\w+): ", text, flags=re.MULTILINE)
    return {name: " ".join(help_.split()) for name, help_ in zip(entries[1::2], entries[2::2], strict=True)}
