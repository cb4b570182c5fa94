"""What calibration, training and evaluation iterate over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TypeAlias, cast

from netwright.data.files import arrays_in, data_files
from netwright.data.items import Batch, is_array, to_batch
from netwright.data.whole import split_whole
from netwright.ir.errors import DataError
from netwright.ir.program import Program
from netwright.ir.signature import Port, input_ports

DataLike: TypeAlias = str | PathLike[str] | Mapping[str, object] | Iterable[object] | Callable[[], Iterable[object]]
"""A path of an `.npz` or `.npy` file or a folder of them; a dict of arrays; one array; or an iterable (a list, a DataLoader, a
generator, or a function that makes one) of dicts, tuples or arrays, numpy's or torch's."""

_Source: TypeAlias = Callable[[], Iterator[Batch]]


class Batches:
    """Batches that can be gone through again and again.

    Each is a dict of arrays: the inputs by name, of the program's types, and whatever came along (labels) by its own name. Batches
    are made as they are asked for; nothing is kept, except of a generator with a limit.

    Attributes:
        inputs: names of the inputs among a batch's keys.
    """

    def __init__(self, source: _Source, inputs: tuple[str, ...], limit: int | None) -> None:
        self._source = source
        self._limit = limit
        self.inputs = inputs

    def __iter__(self) -> Iterator[Batch]:
        return islice(self._source(), self._limit)

    def feeds(self) -> Iterator[Batch]:
        """The batches without what is no input."""
        names = frozenset(self.inputs)
        return ({name: array for name, array in batch.items() if name in names} for batch in self)


def as_batches(data: DataLike, program: Program, *, limit: int | None = None, batch_size: int | None = None) -> Batches:
    """Batches of whatever data was given.

    How items are read: a dict by name; a tuple or list by the order of inputs, what is over being labels (`labels`, or `labels_0`,
    `labels_1` …); `(inputs, labels)` with inputs a dict or tuple likewise; a single array for a program with one input.

    How arrays that hold everything (an `.npz`, a dict, one array) are cut: of the inputs' rank, they are one batch (or, with
    `batch_size`, or where the program's first axis is fixed, several); of one rank more, a stack of batches. An `.npz` written
    without names (`arr_0` …) goes by order.

    Args:
        data: see `DataLike`. In a folder, `.npz` and `.npy` files count, in natural order of their names.
        program: whose inputs the data must fit.
        limit: at most this many batches. A generator with a limit is kept in memory, so that it can be gone through again.
        batch_size: samples to a batch, for arrays that hold everything.

    Raises:
        DataError: data of no known form; and, while iterating, a batch that does not fit, a generator gone through twice, or no
            batch at all.
    """
    if isinstance(data, Batches):
        return data if limit is None else Batches(data.__iter__, data.inputs, limit)
    ports = input_ports(program)
    names = tuple(port.name for port in ports)
    return Batches(_checked(_source(data, ports, limit, batch_size)), names, limit)


def _source(data: object, ports: tuple[Port, ...], limit: int | None, batch_size: int | None) -> _Source:
    if isinstance(data, str | Path):
        return _from_files(Path(data), ports, batch_size)
    if isinstance(data, PathLike):
        return _from_files(Path(cast("PathLike[str]", data)), ports, batch_size)
    if isinstance(data, Mapping):
        whole = cast("Mapping[str, object]", data)
        return lambda: split_whole(whole, ports, batch_size)
    if is_array(data):
        return lambda: split_whole({_only_input(ports): data}, ports, batch_size)
    if isinstance(data, Iterator):
        return _from_generator(cast("Iterator[object]", data), ports, limit)
    if isinstance(data, Iterable):
        items = cast("Iterable[object]", data)
        return lambda: _from_items(items, ports)
    if callable(data):
        make = cast("Callable[[], Iterable[object]]", data)
        return lambda: _from_items(make(), ports)
    raise DataError(
        f"Nothing is known of data of type {type(data).__name__}.",
        place="data",
        remedy="Give a path, or an iterable of dicts or tuples of arrays.",
    )


def _from_items(items: Iterable[object], ports: tuple[Port, ...]) -> Iterator[Batch]:
    for index, item in enumerate(items):
        yield to_batch(item, ports, where=f"batch {index}")


def _from_files(path: Path, ports: tuple[Port, ...], batch_size: int | None) -> _Source:
    files = data_files(path)

    def batches() -> Iterator[Batch]:
        for file in files:
            yield from split_whole(arrays_in(file, ports), ports, batch_size, where=file.name)

    return batches


def _from_generator(items: Iterator[object], ports: tuple[Port, ...], limit: int | None) -> _Source:
    """A generator can be gone through once: it is kept if there is a limit, else the second time is an error."""
    kept: list[Batch] | None = None
    used = False

    def batches() -> Iterator[Batch]:
        nonlocal kept, used
        if kept is not None:
            return iter(kept)
        if used:
            raise DataError(
                "The data is a generator, and has been gone through already.",
                place="data",
                remedy="Give a list, a function that makes the generator, or a limit.",
            )
        used = True
        if limit is None:
            return _from_items(items, ports)
        kept = list(_from_items(islice(items, limit), ports))
        return iter(kept)

    return batches


def _checked(source: _Source) -> _Source:
    """No data at all is an error: a calibration over nothing would go unnoticed."""

    def batches() -> Iterator[Batch]:
        empty = True
        for batch in source():
            empty = False
            yield batch
        if empty:
            raise DataError("The data holds no batch.", place="data", remedy="Give at least one.")

    return batches


def _only_input(ports: tuple[Port, ...]) -> str:
    required = [port.name for port in ports if port.required]
    if len(required) != 1:
        raise DataError(
            f"One array was given, and the program has {len(required)} inputs.",
            place="data",
            remedy=f"Give a dict or tuples with {', '.join(required)}.",
        )
    return required[0]
