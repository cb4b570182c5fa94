"""Arrays in `.npz` and `.npy` files."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

from netwright.data.items import labelled
from netwright.ir.errors import DataError
from netwright.ir.signature import Port

_SUFFIXES = (".npz", ".npy")
_UNNAMED = re.compile(r"arr_\d+")


def data_files(path: Path) -> tuple[Path, ...]:
    """The data files that a path means: itself, or those in the folder, `part2` before `part10`.

    Raises:
        DataError: nothing there, or nothing that is data.
    """
    if path.is_dir():
        files = sorted((one for one in path.iterdir() if one.suffix in _SUFFIXES), key=_natural)
        if not files:
            raise DataError("The folder holds no .npz or .npy file.", place=str(path), remedy="Write batches with numpy.savez.")
        return tuple(files)
    if not path.exists():
        raise DataError("There is no such file.", place=str(path), remedy="Check the path.")
    if path.suffix not in _SUFFIXES:
        raise DataError(
            f"A {path.suffix or 'nameless'} file is no data.", place=str(path), remedy="Give an .npz, an .npy or a folder of them."
        )
    return (path,)


def arrays_in(path: Path, ports: tuple[Port, ...]) -> dict[str, object]:
    """The arrays of one file by name; unnamed ones go by the order of inputs, then to labels. Nothing pickled is read.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return _by_order([loaded], ports)
        with loaded as archive:
            arrays: dict[str, object] = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"The file cannot be read: {error}", place=str(path), remedy="Write it with numpy.savez, without objects."
        ) from error
    if arrays and all(_UNNAMED.fullmatch(name) for name in arrays):
        return _by_order(list(arrays.values()), ports)
    return arrays


def _by_order(arrays: list[object], ports: tuple[Port, ...]) -> dict[str, object]:
    names = [port.name for port in ports if port.required]
    return {**dict(zip(names, arrays, strict=False)), **labelled(arrays[len(names) :])}


def _natural(path: Path) -> list[tuple[int, str]]:
    """Numbers in names count as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
