"""Writing small files beside their place and renaming them, so that a killed process leaves no half file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from netwright.ir.errors import NetwrightError

if TYPE_CHECKING:
    import numpy as np


def write_text(path: str | Path, text: str) -> None:
    """Write text to a file, atomically.

    Raises:
        NetwrightError: the folder is missing or cannot be written to.
    """
    place = Path(path)
    try:
        with tempfile.NamedTemporaryFile("w", dir=place.parent, prefix=f".{place.name}.", delete=False, encoding="utf-8") as file:
            temporary = Path(file.name)
            try:
                file.write(text)
                file.flush()
                os.replace(temporary, place)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise NetwrightError(
            f"The file cannot be written: {error}.", place=str(place), remedy="Give a path in a folder that exists."
        ) from error


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to an `.npz` file, atomically.

    Raises:
        NetwrightError: the folder is missing or cannot be written to.
    """
    import numpy as np

    place = Path(path)
    try:
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.name}.", delete=False) as file:
            temporary = Path(file.name)
            try:
                np.savez(file, allow_pickle=False, **arrays)
                file.flush()
                os.replace(temporary, place)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise NetwrightError(
            f"The file cannot be written: {error}.", place=str(place), remedy="Give a path in a folder that exists."
        ) from error
