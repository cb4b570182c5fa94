"""Where training data comes from: arrays whose rows are drawn, lists whose items are, streams that are taken as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from netwright.data import Batches, DataLike, as_batches
from netwright.data.files import arrays_in, data_files
from netwright.data.items import Batch, is_array, to_batch
from netwright.ir.errors import DataError
from netwright.ir.signature import Port, input_ports, to_array

if TYPE_CHECKING:
    from netwright.ir.program import Program

DEFAULT_BATCH_SIZE = 32
"""Rows to a batch of arrays that hold everything."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One batch for every process, not yet made.

    Attributes:
        sizes: how much each process's batch counts; 0 for one that has nothing left and only keeps the others company.
        make: makes the batch of one process.
    """

    sizes: tuple[float, ...]
    make: Callable[[int], Batch]


class Source(Protocol):
    """Where training data comes from."""

    def __iter__(self) -> Iterator[Batch]:
        """All batches in the order given."""
        ...

    def draws(self, rng: np.random.Generator, processes: int) -> Iterator[Draw]:
        """An epoch, in the order that the generator draws."""
        ...

    def length(self, processes: int) -> int | None:
        """How many draws an epoch has; None where only going through it would tell."""
        ...

    def describe(self) -> str:
        """How much there is, such as `512 rows`."""
        ...


def make_source(data: DataLike, program: Program, batch_size: int | None) -> Source:
    """The source that fits a form of data.

    Raises:
        DataError: data of no known form.
    """
    ports = input_ports(program)
    if isinstance(data, str | PathLike):
        files = data_files(Path(cast("str | PathLike[str]", data)))
        return Rows([_file_loader(file, ports) for file in files], ports, batch_size)
    if isinstance(data, Mapping):
        whole = cast("Mapping[str, object]", data)
        return Rows([lambda: whole], ports, batch_size)
    if is_array(data):
        required = [port.name for port in ports if port.required]
        if len(required) == 1:
            return Rows([lambda: {required[0]: data}], ports, batch_size)
    if isinstance(data, Sequence) and not isinstance(data, Batches):
        items = cast("Sequence[object]", data)
        if not items:
            raise DataError("The data holds no batch.", place="data", remedy="Give at least one.")
        return Items(items, ports) if batch_size is None else Rows(_item_loaders(items, ports), ports, batch_size)
    return Stream(data, program, batch_size)


@dataclass(frozen=True, slots=True)
class Shard:
    """Arrays of one file or dict, and how they are cut.

    Attributes:
        arrays: by name.
        rows: how many rows (or, of a stack, batches) are used.
        width: rows to a batch.
        stacked: the arrays are a stack of batches.
        fixed: every batch must have exactly `width` rows.
    """

    arrays: Mapping[str, np.ndarray]
    rows: int
    width: int
    stacked: bool
    fixed: bool

    def draws(self, rng: np.random.Generator, processes: int, ports: tuple[Port, ...]) -> Iterator[Draw]:
        """All rows in a drawn order."""
        order = rng.permutation(self.rows)
        step = self.width * processes
        for start in range(0, len(order), step):
            yield self._draw(self._share_out(order[start : start + step], processes), ports)

    def batches(self, ports: tuple[Port, ...]) -> Iterator[Batch]:
        """All rows in their order."""
        for start in range(0, self.rows, self.width):
            yield self._cut(np.arange(start, min(start + self.width, self.rows)), ports)

    def length(self, processes: int) -> int:
        """How many draws there are."""
        return -(-self.rows // (self.width * processes))

    def _share_out(self, chosen: np.ndarray, processes: int) -> list[np.ndarray]:
        """Evenly; or, where batches have one size, full ones to the first processes."""
        if self.fixed or self.stacked:
            return [chosen[rank * self.width : (rank + 1) * self.width] for rank in range(processes)]
        return np.array_split(chosen, processes)

    def _draw(self, shares: list[np.ndarray], ports: tuple[Port, ...]) -> Draw:
        sizes = tuple(float(len(own)) for own in shares)
        return Draw(sizes, lambda rank: self._cut(shares[rank] if len(shares[rank]) else shares[0], ports))

    def _cut(self, rows: np.ndarray, ports: tuple[Port, ...]) -> Batch:
        first = int(rows[0])
        if self.stacked:
            return to_batch({name: array[first] for name, array in self.arrays.items()}, ports, where=f"batch {first}")
        return to_batch({name: array[rows] for name, array in self.arrays.items()}, ports, where=f"batch with row {first}")


class Rows:
    """Arrays whose rows are drawn: one file or dict, or several in a drawn order, one at a time in memory.

    Args:
        loaders: each gives the arrays of a file or dict.
        ports: the inputs.
        batch_size: rows to a batch and process.
    """

    def __init__(self, loaders: Sequence[Callable[[], Mapping[str, object]]], ports: tuple[Port, ...], batch_size: int | None) -> None:
        self._loaders = loaders
        self._ports = ports
        self._batch_size = batch_size
        self._kept: tuple[int, Shard] | None = None

    def __iter__(self) -> Iterator[Batch]:
        for shard in self._shards(range(len(self._loaders))):
            yield from shard.batches(self._ports)

    def draws(self, rng: np.random.Generator, processes: int) -> Iterator[Draw]:
        """An epoch, in the order that the generator draws."""
        order: list[int] = rng.permutation(len(self._loaders)).tolist()
        for shard in self._shards(order):
            yield from shard.draws(rng, processes, self._ports)

    def length(self, processes: int) -> int | None:
        """How many draws an epoch has."""
        return sum(shard.length(processes) for shard in self._shards(range(len(self._loaders))))

    def describe(self) -> str:
        """How many rows there are."""
        return f"{sum(shard.rows for shard in self._shards(range(len(self._loaders))))} rows"

    def _shards(self, order: Iterable[int]) -> Iterator[Shard]:
        for index in order:
            if self._kept is None or self._kept[0] != index:
                self._kept = (index, make_shard(self._loaders[index](), self._ports, self._batch_size))
            yield self._kept[1]


class Items:
    """A list of batches, taken in a drawn order."""

    def __init__(self, items: Sequence[object], ports: tuple[Port, ...]) -> None:
        self._items = items
        self._ports = ports

    def __iter__(self) -> Iterator[Batch]:
        return (self._make(index) for index in range(len(self._items)))

    def draws(self, rng: np.random.Generator, processes: int) -> Iterator[Draw]:
        """An epoch, in the order that the generator draws."""
        order: list[int] = rng.permutation(len(self._items)).tolist()
        for start in range(0, len(order), processes):
            yield self._draw(order[start : start + processes], processes)

    def length(self, processes: int) -> int | None:
        """How many draws an epoch has."""
        return -(-len(self._items) // processes)

    def describe(self) -> str:
        """How many batches there are."""
        return f"{len(self._items)} batches"

    def _draw(self, chosen: list[int], processes: int) -> Draw:
        return Draw(_present(len(chosen), processes), lambda rank: self._make(chosen[rank] if rank < len(chosen) else chosen[0]))

    def _make(self, index: int) -> Batch:
        return to_batch(self._items[index], self._ports, where=f"batch {index}")


class Stream:
    """Batches in the order in which they come; with a batch size, the rows of each are drawn and cut.

    With several processes each goes through all of it and takes its own.
    """

    def __init__(self, data: DataLike, program: Program, batch_size: int | None) -> None:
        self._batches = as_batches(data, program)
        self._sized = data if isinstance(data, Sized) and batch_size is None else None
        self._once = isinstance(data, Iterator)
        self._ports = input_ports(program)
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    def draws(self, rng: np.random.Generator, processes: int) -> Iterator[Draw]:
        """An epoch, as it comes."""
        if self._batch_size is not None:
            for batch in self._batches:
                yield from make_shard(batch, self._ports, self._batch_size).draws(rng, processes, self._ports)
            return
        group: list[Batch] = []
        for batch in self._batches:
            group.append(batch)
            if len(group) == processes:
                yield _drawn(group, processes)
                group = []
        if group:
            yield _drawn(group, processes)

    def length(self, processes: int) -> int | None:
        """How many draws an epoch has, where the data has a length.

        Raises:
            DataError: the data is a generator, which can be gone through once only.
        """
        if self._once:
            raise DataError(
                "How long a generator is nobody knows, and it can be gone through once only.",
                place="data",
                remedy="Give steps=N, or a list, or a function that makes the generator.",
            )
        return None if self._sized is None else -(-len(self._sized) // processes)

    def describe(self) -> str:
        """That it is a stream."""
        return "a stream" if self._sized is None else f"{len(self._sized)} batches"


def make_shard(given: Mapping[str, object], ports: tuple[Port, ...], batch_size: int | None) -> Shard:
    """Arrays, and how they are cut: by the size that the program fixes for its inputs' first axis, else by `batch_size`.

    Where the program fixes the size, rows that do not fill a batch are left out of an epoch (others in each, by the drawn order).

    Raises:
        DataError: arrays of different lengths, or a batch size that the program does not take.
    """
    arrays = {name: to_array(value, place=name) for name, value in given.items()}
    known = {port.name: port for port in ports}
    inputs = {name: array for name, array in arrays.items() if name in known}
    rows = _common_length(arrays)
    ranks = [array.ndim - rank for name, array in inputs.items() if (rank := known[name].rank) is not None]
    stacked = bool(ranks) and all(more == 1 for more in ranks)
    if stacked:
        if batch_size is not None:
            raise DataError("A stack of batches has a batch size of its own.", place="batch_size", remedy="Leave batch_size out.")
        return Shard(arrays, rows, 1, stacked=True, fixed=False)
    fixed = {shape[0] if (shape := known[name].shape) else None for name in inputs}
    size = fixed.pop() if len(fixed) == 1 else None
    if not isinstance(size, int) or size < 1:
        return Shard(arrays, rows, batch_size or DEFAULT_BATCH_SIZE, stacked=False, fixed=False)
    if batch_size not in (None, size):
        raise DataError(f"The program takes {size} rows at a time, not {batch_size}.", place="batch_size", remedy="Leave batch_size out.")
    return Shard(arrays, max(rows // size * size, min(rows, 1)), size, stacked=False, fixed=True)


def _common_length(arrays: Mapping[str, np.ndarray]) -> int:
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items()) or "no array at all"
        raise DataError(f"The arrays disagree on how many rows there are: {listed}.", place="data", remedy="Give as many of each.")
    rows = next(iter(lengths.values()))
    if not rows:
        raise DataError("The data holds no row.", place="data", remedy="Give at least one.")
    return rows


def _file_loader(file: Path, ports: tuple[Port, ...]) -> Callable[[], Mapping[str, object]]:
    return lambda: arrays_in(file, ports)


def _item_loaders(items: Sequence[object], ports: tuple[Port, ...]) -> list[Callable[[], Mapping[str, object]]]:
    def loader(index: int) -> Callable[[], Mapping[str, object]]:
        return lambda: to_batch(items[index], ports, where=f"batch {index}")

    return [loader(index) for index in range(len(items))]


def _drawn(group: list[Batch], processes: int) -> Draw:
    return Draw(_present(len(group), processes), lambda rank: group[rank] if rank < len(group) else group[0])


def _present(count: int, processes: int) -> tuple[float, ...]:
    """Each batch counts the same; processes beyond the last one count nothing."""
    return tuple(1.0 if rank < count else 0.0 for rank in range(processes))
