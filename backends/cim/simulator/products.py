"""Products on units' arrays: patches gathered from maps, engines prepared once for each part of a matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np

from netwright.backends.cim import engines
from netwright.backends.cim.engines.base import MvmCounts, Prepared
from netwright.backends.cim.engines.prepare import Counting, Engine
from netwright.backends.cim.ops import Im2Col
from netwright.backends.cim.program.access import extents, shape_of, volume, window_box
from netwright.backends.cim.program.fractions import denominator_of
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import ChipProgram, Mvm, Unit, Window
from netwright.backends.cim.simulator.kernels import patches
from netwright.backends.cim.simulator.steps import Slot
from netwright.backends.cim.simulator.values import Values
from netwright.backends.cim.simulator.written import multiply_each

PIECE = 2**24
"""Bytes of patches that are gathered at once."""


@dataclass(slots=True)
class Products:
    """The products of one program.

    Attributes:
        chip: the program.
        threads: of the engines.
        engine: which.
        counts: `exact`, or `fast`: see `engines.prepare`.
    """

    chip: ChipProgram
    threads: int
    engine: Engine
    counts: Counting
    _prepared: dict[tuple[int, tuple[int, int], tuple[int, int]], Prepared]
    _slow: dict[int, str] = field(default_factory=dict[int, str])

    def multiply(self, one: Mvm, sources: tuple[Slot, ...], box: Box, values: Values, first: int) -> tuple[np.ndarray, MvmCounts, str, int]:
        """Sums of a box.

        Args:
            one: the instruction; its own box is not looked at.
            sources: slot of its source.
            box: of the target.
            values: of slots.
            first: number of the first sample within the run; 0 for what all samples share.

        Returns:
            The sums [samples or 1, …], what arrays did for them, by which engine, and the number of samples computed.
        """
        chip, unit, source = self.chip, self.chip.units[one.unit], sources[0]
        prepared = self._ready(unit)
        columns = slice(box[-1][0] - unit.columns[0], box[-1][1] - unit.columns[0])
        samples, vectors = len(values.read(source, self._read(one, unit, box))), volume(box[:-1])
        noisy, fractions = prepared.coding.noise is not None, denominator_of(chip, unit) != 1
        counts: MvmCounts | None = None
        found: np.ndarray | None = None
        engine = ""
        for some, rows in self._vectors(one, unit, source, box, values):
            numbers = _numbers(shape_of(chip, one.target)[:-1], box[:-1], some, first) if noisy else None
            outcome = prepared.multiply(rows, numbers=numbers, fractions=fractions)
            if counts is None:
                counts = outcome.counts
            else:
                counts.add(outcome.counts)
            engine = outcome.engine
            if some == slice(0, samples * vectors):
                found = outcome.values
                break
            if found is None:
                found = np.empty((samples * vectors, outcome.values.shape[1]), outcome.values.dtype)
            found[some] = outcome.values
        if found is None:
            found = np.zeros((samples * vectors, prepared.shape[1]), np.int32)
        return found[:, columns].reshape(samples, *extents(box)), counts or MvmCounts(), engine, samples

    def multiply_written(
        self, one: Mvm, sources: tuple[Slot, ...], box: Box, values: Values, first: int
    ) -> tuple[np.ndarray, MvmCounts, str, int]:
        """As `multiply`, with what arrays are written with as the second source: engines are prepared matrix by matrix."""
        unit = self.chip.units[one.unit]
        matrix = self.chip.matrices[unit.matrix]
        lead = len(self.chip.tensors[matrix.source].shape) - 2
        x = values.read(sources[0], (*box[:-1], unit.rows))
        w = values.read(sources[1], (*box[:lead], unit.rows, unit.columns))
        noisy = matrix.coding.noise is not None
        samples = max(len(x), len(w))
        everything = slice(0, samples * volume(box[:-1]))
        numbers = _numbers(shape_of(self.chip, one.target)[:-1], box[:-1], everything, first) if noisy else None
        fractions = denominator_of(self.chip, unit) != 1

        def prepare(part: np.ndarray) -> Prepared:
            return self._prepare(unit, part)

        done = multiply_each(x, w, prepare, numbers, fractions=fractions)
        self._slow[unit.matrix] = done.why_slow
        columns = slice(box[-1][0] - unit.columns[0], box[-1][1] - unit.columns[0])
        return done.values[..., columns].reshape(samples, *extents(box)), done.counts, done.engine, samples

    def why_slow(self) -> list[str]:
        """Why products took longer than they could, as sentences: what holds for all layers once, else with the layers' names."""
        reasons: dict[str, dict[str, None]] = {}
        known = [(matrix, prepared.why_slow) for (matrix, _, _), prepared in self._prepared.items()]
        for matrix, why in (*known, *self._slow.items()):
            reasons.setdefault(why, {})[self.chip.matrices[matrix].layer] = None
        layers = {name for named in reasons.values() for name in named}
        everywhere = {reason: len(named) == len(layers) for reason, named in reasons.items() if reason}
        told = [reason if all_ else f"{_listed(list(reasons[reason]))}: {reason}" for reason, all_ in everywhere.items()]
        return [f"{one[0].upper()}{one[1:].rstrip('.')}." for one in told]

    def _ready(self, unit: Unit) -> Prepared:
        key = (unit.matrix, unit.rows, unit.columns)
        if key not in self._prepared:
            matrix = self.chip.matrices[unit.matrix]
            self._prepared[key] = self._prepare(unit, np.ascontiguousarray(matrix.values[slice(*unit.rows), slice(*unit.columns)]))
        return self._prepared[key]

    def _prepare(self, unit: Unit, part: np.ndarray) -> Prepared:
        coding = self.chip.matrices[unit.matrix].coding
        return engines.prepare(
            part,
            coding,
            first_block=unit.rows[0] // coding.rows,
            first_column=unit.columns[0],
            threads=self.threads,
            engine=self.engine,
            counts=self.counts,
        )

    def _read(self, one: Mvm, unit: Unit, box: Box) -> Box:
        """The part of the source that a box needs."""
        return (*box[:-1], unit.rows) if one.window is None else window_box(one.window, unit, shape_of(self.chip, one.source)[3], box)

    def _vectors(self, one: Mvm, unit: Unit, source: Slot, box: Box, values: Values) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows of K, `PIECE` bytes at a time: which of all vectors, sample after sample, these are, and they."""
        vectors, width = volume(box[:-1]), unit.rows[1] - unit.rows[0]
        if one.window is None:
            found = values.read(source, self._read(one, unit, box))
            flat = found.reshape(-1, found.shape[-1])
            for some in _pieces(len(flat), width):
                yield some, flat[some]
            return
        channels, across = shape_of(self.chip, one.source)[3], box[2][1] - box[2][0]
        for down in _pieces(box[1][1] - box[1][0], across * width):  # one piece, where a sample's patches are not more than that
            part = (box[0], (box[1][0] + down.start, box[1][0] + down.stop), *box[2:])
            read = self._read(one, unit, part)
            maps, cut, own = values.read(source, read)[:, 0], _Cut.of(one.window, unit, channels, part, read), volume(part[:-1])
            for some in _pieces(len(maps), own * width) if own == vectors else (slice(n, n + 1) for n in range(len(maps))):
                start = some.start * vectors + down.start * across
                yield slice(start, start + (some.stop - some.start) * own), cut.rows_of(maps[some])


def _listed(names: list[str]) -> str:
    """The first of them, and how many more there are."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


_NAMED = 4


def _pieces(count: int, size: int) -> Iterator[slice]:
    """So many things of so many bytes, in pieces of `PIECE` bytes or of one thing."""
    step = max(1, PIECE // max(1, size))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


@dataclass(frozen=True, slots=True)
class _Cut:
    """A window on a part of a map: of the kernel what a unit's rows need, of the pads what is missing."""

    window: Im2Col
    columns: slice

    @staticmethod
    def of(window: Window, unit: Unit, channels: int, box: Box, part: Box) -> _Cut:
        """The window that makes a unit's rows of a box, on the part of the map that `window_box` names."""
        width = window.kernel[1]
        (first, last), taken = (unit.rows[0], unit.rows[1] - 1), part[3][1] - part[3][0]
        top, bottom = first // (width * channels), last // (width * channels)
        left, right = (first // channels % width, last // channels % width) if top == bottom else (0, width - 1)
        down = _missing(box[1], (top, bottom), window, 0, part[1])
        across = _missing(box[2], (left, right), window, 1, part[2])
        start = first - (top * width + left) * channels - part[3][0]
        cut = Im2Col(
            kernel=(bottom - top + 1, right - left + 1),
            strides=window.strides,
            dilations=window.dilations,
            pads=(down[0], across[0], down[1], across[1]),
            pad_value=window.pad_value,
        )
        whole = start == 0 and unit.rows[1] - unit.rows[0] == cut.kernel[0] * cut.kernel[1] * taken
        return _Cut(cut, slice(None) if whole else slice(start, start + unit.rows[1] - unit.rows[0]))

    def rows_of(self, maps: np.ndarray) -> np.ndarray:
        """Rows of K [vectors, rows] of maps [samples, H, W, C]."""
        down, right = self.window.strides
        found = maps[:, ::down, ::right] if self._plain() else patches(maps, self.window)
        return np.ascontiguousarray(found.reshape(-1, found.shape[-1])[:, self.columns])

    def _plain(self) -> bool:
        return self.window.kernel == (1, 1) and not any(self.window.pads)


def _missing(results: tuple[int, int], kernel: tuple[int, int], window: Window, axis: int, part: tuple[int, int]) -> tuple[int, int]:
    """Rows before and after a part of the map that a window looks at and that are outside the map."""
    start = results[0] * window.strides[axis] - window.pads[axis] + kernel[0] * window.dilations[axis]
    stop = (results[1] - 1) * window.strides[axis] - window.pads[axis] + kernel[1] * window.dilations[axis] + 1
    return (part[0] - start, stop - part[1]) if part[0] < part[1] else (stop - start, 0)


def _positions(shape: tuple[int, ...], box: Box) -> np.ndarray:
    """Numbers of a box's vectors within their tensor."""
    found = np.zeros((1,) * len(shape), np.int64)
    for axis, (extent, (start, stop)) in enumerate(zip(shape, box, strict=True)):
        places = np.arange(start, stop, dtype=np.int64).reshape([-1 if one == axis else 1 for one in range(len(shape))])
        found = found * extent + places
    return found.reshape(-1)


def _numbers(shape: tuple[int, ...], box: Box, some: slice, first: int) -> np.ndarray:
    """Numbers of some vectors of a box within the whole run."""
    positions = _positions(shape, box)
    samples, places = np.divmod(np.arange(some.start, some.stop, dtype=np.int64), positions.size)
    return (samples + first) * prod(shape) + positions[places]
