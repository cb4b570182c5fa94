"""What a chip must satisfy beyond its types: ranges of single figures, and fields that have to fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from math import isfinite

from netwright.backends.cim.arch.model import Adc, Arch
from netwright.ir.errors import NetwrightError


class ChipError(NetwrightError):
    """A chip description that is malformed or contradicts itself, or one that nobody knows."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a chip.

    Attributes:
        path: the field at fault, from the chip's top, as `("array", "adc", "bits")`.
        message: what is wrong, with the numbers.
        remedy: what to write instead.
    """

    path: tuple[str, ...]
    message: str
    remedy: str


_RANGES: dict[str, tuple[float, float]] = {
    "node_nm": (1, 1000),
    "voltage": (0.1, 10),
    "clock_mhz": (0.001, 100_000),
    "weight_bits": (1, 16),
    "input_bits": (1, 16),
    "array.rows": (1, 65_536),
    "array.columns": (1, 65_536),
    "array.active_rows": (1, 65_536),
    "array.cell_bits": (1, 8),
    "array.digit_bits": (1, 8),
    "array.adc.bits": (1, 16),
    "array.adc.step": (0, 2**24),
    "array.adc.low": (-(2**31), 2**31),
    "array.adc.high": (-(2**31), 2**31),
    "array.adc.columns": (1, 65_536),
    "array.adc.rate_mhz": (0.001, 1_000_000),
    "array.noise.cell": (0, 1),
    "array.noise.seed": (0, 2**63 - 1),
    "array.disabling.group": (1, 65_536),
    "tile.cores": (1, 4096),
    "tile.arrays": (1, 4096),
    "tile.memory.bytes": (1024, 2**40),
    "tile.memory.bytes_per_cycle": (1, 2**20),
    "tile.vector.lanes": (1, 2**20),
    "tile.vector.macs": (1, 2**20),
    "tile.vector.special": (1, 2**20),
    "network.columns": (1, 256),
    "network.rows": (1, 256),
    "network.link_bytes": (1, 2**16),
    "dram.bytes_per_cycle": (1, 2**20),
    "voltage_exponent": (0, 4),
    "delay_exponent": (0, 8),
}
"""First and last value of figures that have a range of their own; every other figure is finite and not negative."""


def problems(arch: Arch) -> tuple[Problem, ...]:
    """Everything that is wrong with a chip; empty for a sound one."""
    single = tuple(_figures(arch, ()))
    return single or tuple(_contradictions(arch))


def check(arch: Arch, *, place: str | None = None) -> None:
    """Refuse a chip that is not sound.

    Args:
        arch: the chip.
        place: how the error names the chip; its own name if not given.

    Raises:
        ChipError: naming the first field at fault, and how many more there are.
    """
    found = problems(arch)
    first = next(iter(found), None)
    if first is None:
        return
    more = f" ({len(found) - 1} more like it.)" if len(found) > 1 else ""
    raise ChipError(first.message + more, place=f"{place or arch.name}, {'.'.join(first.path)}", remedy=first.remedy)


def _figures(part: object, path: tuple[str, ...]) -> Iterator[Problem]:
    for name in getattr(type(part), "__dataclass_fields__", {}):
        value: object = getattr(part, name)
        here = (*path, name)
        if is_dataclass(value):
            yield from _figures(value, here)
        elif isinstance(value, (int, float)):
            low, high = _RANGES.get(".".join(here), (0.0, float("inf")))
            if not isfinite(value) or not low <= value <= high:
                wanted = f"between {low:,g} and {high:,g}" if high < float("inf") else "finite and not negative"
                yield Problem(here, f"{'.'.join(here)} is {value:,g}; it has to be {wanted}.", "Correct the figure.")


def _contradictions(arch: Arch) -> Iterator[Problem]:
    array = arch.array
    if not arch.name.strip():
        yield Problem(("name",), "The chip has no name.", "Give it one: reports and files carry it.")
    if array.active_rows > array.rows:
        text = f"{array.active_rows} rows are read at once, and the array has {array.rows}."
        yield Problem(("array", "active_rows"), text, f"Lower active_rows to at most {array.rows}, or raise rows.")
    if array.cell_bits > arch.weight_bits:
        text = f"A cell keeps {array.cell_bits} bits, and the widest weight has {arch.weight_bits}."
        yield Problem(("array", "cell_bits"), text, "Raise weight_bits or lower cell_bits.")
    if array.digit_bits > arch.input_bits:
        text = f"A digit has {array.digit_bits} bits, and the widest input has {arch.input_bits}."
        yield Problem(("array", "digit_bits"), text, "Raise input_bits or lower digit_bits.")
    if array.encoding == "twos_complement" and array.cell_bits > 1 and (arch.weight_bits - 1) % array.cell_bits:
        text = f"Two's complement keeps the sign in a cell of its own, and {array.cell_bits} bits a cell do not divide the other "
        yield Problem(
            ("array", "encoding"),
            text + f"{arch.weight_bits - 1} bits of a weight.",
            "Use cell_bits: 1, or encoding: offset or differential.",
        )
    if array.disabling.granularities[:1] != ("none",) or len(set(array.disabling.granularities)) != len(array.disabling.granularities):
        text = f"granularities are {', '.join(array.disabling.granularities) or 'empty'}."
        yield Problem(("array", "disabling", "granularities"), text, "Name each once, `none` first, the finest last.")
    if any(one.endswith("group") for one in array.disabling.granularities) and array.disabling.group > array.active_rows:
        text = f"A group has {array.disabling.group} rows, and {array.active_rows} are read at once."
        yield Problem(("array", "disabling", "group"), text, f"Lower group to at most {array.active_rows}.")
    slices = -(-arch.weight_bits // array.cell_bits)
    if array.columns < slices:
        text = f"A weight of {arch.weight_bits} bits takes {slices} columns, and the array has {array.columns}."
        yield Problem(("array", "columns"), text, f"Raise columns to at least {slices}, or lower weight_bits.")
    yield from _conversions(arch)


def _conversions(arch: Arch) -> Iterator[Problem]:
    array, adc = arch.array, arch.array.adc
    if array.kind == "digital":
        if adc is not None:
            yield Problem(("array", "adc"), "A digital array adds exactly and has no converter.", "Write adc: null, or kind: analog.")
        if array.noise.conversion or array.noise.cell:
            yield Problem(("array", "noise"), "A digital array has no analog noise.", "Leave noise out, or write kind: analog.")
        return
    if adc is None:
        yield Problem(("array", "adc"), "An analog array needs a converter.", "Describe it under adc, or write kind: digital.")
        return
    yield from _converter(adc, array.columns)
    if adc.subtract == "before" and array.encoding != "differential":
        text = f"Columns are subtracted before conversion, and encoding is {array.encoding}."
        yield Problem(("array", "adc", "subtract"), text, "Write subtract: after, or encoding: differential.")
    if adc.subtract == "before" and adc.bits < 2:
        yield Problem(("array", "adc", "bits"), "A signed conversion of 1 bit has no code but 0.", "Give the converter at least 2 bits.")
    if adc.mode == "charge" and adc.subtract == "before":
        yield Problem(("array", "adc", "mode"), "Charge settles on one column; two are not subtracted before.", "Write subtract: after.")


def _converter(adc: Adc, columns: int) -> Iterator[Problem]:
    here = ("array", "adc")
    if adc.mode == "exact":
        yield Problem(
            (*here, "mode"), "An analog converter has codes; exact is what digital arrays are.", "Use step, clip, range or charge."
        )
    if adc.columns > columns:
        text = f"{adc.columns} columns share a converter, and the array has {columns}."
        yield Problem((*here, "columns"), text, f"Lower adc.columns to at most {columns}.")
    if adc.step and adc.mode != "step":
        yield Problem((*here, "step"), f"step belongs to mode step, and the mode is {adc.mode}.", "Leave step out, or write mode: step.")
    if adc.mode != "range" and (adc.low or adc.high):
        yield Problem(
            (*here, "low"), f"low and high belong to mode range, and the mode is {adc.mode}.", "Leave them out, or write mode: range."
        )
    if adc.low > adc.high:
        yield Problem((*here, "low"), f"The range begins at {adc.low:,} and ends at {adc.high:,}.", "Exchange low and high.")
    if adc.model == "table" and not (adc.energy_pj and adc.area_um2 and adc.delay_ns):
        text = "The model table needs energy_pj, area_um2 and delay_ns."
        yield Problem((*here, "model"), text, "Write all three, or use model: zigzag or cimloop.")
