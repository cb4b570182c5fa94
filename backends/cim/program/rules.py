"""What holds for each kind of instruction: ranks, types and whose buffers they are."""

from __future__ import annotations

from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import (
    HOST,
    Accumulate,
    ChipProgram,
    Instruction,
    Load,
    Mvm,
    Receive,
    Reload,
    Requantize,
    Send,
    Store,
    Tensor,
    Vector,
    Window,
    Write,
)
from netwright.ir.errors import VerifyError

_SUMS = ("int32", "int64")
_BYTES = ("uint8", "int8")


def check_instruction(chip: ChipProgram, tile: int, one: Instruction, place: str) -> None:
    """Hold what an instruction's kind demands; its indices are already checked.

    Raises:
        VerifyError: it does not hold.
    """
    for buffer, wanted in _owners(one, tile):
        _require(chip.buffers[buffer].tile == wanted, place, f"Buffer {buffer} is on tile {chip.buffers[buffer].tile}, not {wanted}.")
    box: Box | None = getattr(one, "box", None)
    for buffer in _targets(one):
        rank = len(_tensor(chip, buffer).shape)
        _require(box is None or len(box) == rank or isinstance(one, Vector), place, f"Its box has {len(box or ())} axes, not {rank}.")
    if isinstance(one, Load | Store):
        _require(chip.buffers[one.source].tensor == chip.buffers[one.target].tensor, place, "It moves one tensor into another.")
    elif isinstance(one, Send):
        _require(0 <= one.to < chip.arch.network.tiles and one.to != tile and one.channel >= 0, place, f"It cannot send to {one.to}.")
        _require(len(one.box) == len(_tensor(chip, one.source).shape), place, "Its box has another rank than its tensor.")
    elif isinstance(one, Mvm):
        _product(chip, one, place)
    elif isinstance(one, Accumulate):
        target = _tensor(chip, one.target)
        sources = [_tensor(chip, source) for source in one.sources]
        alike = all(source.shape == target.shape and source.dtype in _SUMS for source in sources)
        _require(bool(sources) and alike and target.dtype in _SUMS, place, "Its sources and target are not sums of one shape.")
        _require(one.denominator >= 1, place, f"It divides by {one.denominator}.")
    elif isinstance(one, Requantize):
        _requantize(chip, one, place)
    elif isinstance(one, Vector):
        _vector(chip, one, place)
    elif isinstance(one, Write):
        _write(chip, one, place)
    elif isinstance(one, Reload):
        source = chip.matrices[chip.units[one.unit].matrix].source
        _require(not source, place, f"Unit {one.unit} is written from {source}, not from outer memory.")


def _owners(one: Instruction, tile: int) -> list[tuple[int, int]]:
    if isinstance(one, Load):
        return [(one.source, HOST), (one.target, tile)]
    if isinstance(one, Store):
        return [(one.source, tile), (one.target, HOST)]
    if isinstance(one, Send | Write):
        return [(one.source, tile)]
    if isinstance(one, Receive):
        return [(one.target, tile)]
    if isinstance(one, Mvm | Requantize):
        return [(one.source, tile), (one.target, tile)]
    if isinstance(one, Accumulate):
        return [(buffer, tile) for buffer in (*one.sources, one.target)]
    if isinstance(one, Vector):
        return [(buffer, tile) for buffer in (*one.sources, *one.targets)]
    return []


def _targets(one: Instruction) -> tuple[int, ...]:
    if isinstance(one, Vector):
        return one.targets
    return (one.target,) if isinstance(one, Load | Store | Mvm | Accumulate | Requantize | Receive) else ()


def _product(chip: ChipProgram, one: Mvm, place: str) -> None:
    unit, source, target = chip.units[one.unit], _tensor(chip, one.source), _tensor(chip, one.target)
    rows, columns = chip.matrices[unit.matrix].values.shape
    _require(source.dtype in _BYTES and target.dtype in _SUMS, place, f"It makes {target.dtype} of {source.dtype}.")
    _require(bool(target.shape) and target.shape[-1] == columns, place, f"Its target is {target.shape}, not [..., {columns}].")
    inside = unit.columns[0] <= one.box[-1][0] <= one.box[-1][1] <= unit.columns[1]
    _require(inside, place, f"Columns {one.box[-1]} are not of unit {one.unit}.")
    if one.window is None:
        fits = len(source.shape) == len(target.shape) and source.shape == (*target.shape[:-1], rows)
        _require(fits, place, f"Its source is {source.shape}, not {(*target.shape[:-1], rows)}.")
    else:
        _windowed(one.window, source, target, rows, place)


def _write(chip: ChipProgram, one: Write, place: str) -> None:
    unit, source = chip.units[one.unit], _tensor(chip, one.source)
    matrix = chip.matrices[unit.matrix]
    _require(source.name == matrix.source, place, f"It writes {source.name}; the unit's matrix is {matrix.source or 'constant'}.")
    fits = len(one.box) == len(source.shape) and one.box[-2:] == (unit.rows, unit.columns)
    _require(fits, place, f"It writes {one.box}; the unit holds rows {unit.rows} and columns {unit.columns}.")
    _require(all(stop - start == 1 for start, stop in one.box[:-2]), place, f"{one.box} is more than one matrix.")


def _windowed(window: Window, source: Tensor, target: Tensor, rows: int, place: str) -> None:
    figures = (*window.kernel, *window.strides, *window.dilations)
    _require(all(1 <= figure <= 2**16 for figure in figures) and all(0 <= pad <= 2**16 for pad in window.pads), place, "An absurd window.")
    mapped = len(source.shape) == len(target.shape) == 4 and source.shape[0] == target.shape[0] == 1
    _require(mapped and source.shape[1:3] == window.size, place, f"{source.shape} is no map [1, {window.size[0]}, {window.size[1]}, C].")
    _require(window.kernel[0] * window.kernel[1] * source.shape[3] == rows, place, f"The window does not make {rows} rows of K.")
    limits = (0, 255) if source.dtype == "uint8" else (-128, 127)
    _require(limits[0] <= window.pad_value <= limits[1], place, f"The pad value {window.pad_value} is no {source.dtype}.")
    for axis in (0, 1):
        reach = window.dilations[axis] * (window.kernel[axis] - 1) + 1
        room = window.size[axis] + window.pads[axis] + window.pads[axis + 2]
        made = (room - reach) // window.strides[axis] + 1
        _require(target.shape[axis + 1] == made, place, f"The window makes {made} along axis {axis + 1}, the target is {target.shape}.")


def _requantize(chip: ChipProgram, one: Requantize, place: str) -> None:
    source, target, scaling = _tensor(chip, one.source), _tensor(chip, one.target), chip.scalings[one.scaling]
    _require(source.shape == target.shape and bool(target.shape), place, f"It makes {target.shape} of {source.shape}.")
    _require(source.dtype in _SUMS and target.dtype == scaling.dtype, place, f"It makes {target.dtype} of {source.dtype}.")
    _require(scaling.bias.size == target.shape[-1], place, f"Its scaling has {scaling.bias.size} columns, not {target.shape[-1]}.")


def _vector(chip: ChipProgram, one: Vector, place: str) -> None:
    region = chip.regions[one.region]
    sources = tuple(chip.buffers[source].tensor for source in one.sources)
    targets = tuple(chip.buffers[target].tensor for target in one.targets)
    _require(bool(targets), place, "It makes nothing.")
    _require(
        sources == region.inputs and targets == region.outputs, place, f"Its buffers are not what region {region.name} reads and makes."
    )
    shape = _tensor(chip, one.targets[0]).shape
    fits = len(one.box) == len(shape) and all(0 <= a <= b <= n for (a, b), n in zip(one.box, shape, strict=True))
    _require(fits, place, f"Its box {one.box} is not within {shape}.")


def _tensor(chip: ChipProgram, buffer: int) -> Tensor:
    return chip.tensors[chip.buffers[buffer].tensor]


def _require(holds: bool, place: str, message: str) -> None:
    if not holds:
        raise VerifyError(message, place=place, remedy="The program is damaged, or the mapping is wrong: compile the model again.")
