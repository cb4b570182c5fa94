"""Writing small files beside their place and renaming them, so that a killed process leaves no half file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from netwright.ir.errors import NetwrightError

if TYPE_CHECKING:
    import numpy as np


def require_folders(*paths: str | Path | None) -> None:
    """Refuse paths whose folder does not exist, before any work is done for them.

    Raises:
        NetwrightError: one does not.
    """
    for path in paths:
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise NetwrightError(
                f"The folder {Path(path).parent} does not exist.", place=str(path), remedy="Make it, or give a path in one that does."
            )


def write_text(path: str | Path, text: str) -> None:
    """Write text to a file, atomically.

    Raises:
        NetwrightError: the folder is missing or cannot be written to.
    """
    _write(Path(path), lambda file: file.write(text.encode()))


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes to a file, atomically.

    Raises:
        NetwrightError: the folder is missing or cannot be written to.
    """
    _write(Path(path), lambda file: file.write(data))


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> None:
    """Write arrays to an `.npz` file, atomically.

    Raises:
        NetwrightError: the folder is missing or cannot be written to.
    """
    from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

    from numpy.lib import format as npy

    def fill(file: IO[bytes]) -> None:
        # numpy.savez takes names as keywords: an array called "file" would not be one.
        with ZipFile(file, "w", ZIP_DEFLATED if compressed else ZIP_STORED, allowZip64=True) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                    npy.write_array(part, array, allow_pickle=False)

    _write(Path(path), fill)


def _write(place: Path, fill: Callable[[IO[bytes]], object]) -> None:
    try:
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.name}.", delete=False) as file:
            try:
                fill(file)
                file.flush()
                os.chmod(file.name, 0o666 & ~_umask())  # a temporary file is its owner's only
                os.replace(file.name, place)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise NetwrightError(
            f"The file cannot be written: {error}.", place=str(place), remedy="Give a path in a folder that exists."
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
