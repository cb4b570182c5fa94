"""A teacher's outputs, kept on disk: computed once, whatever order the batches come in.

A folder holds one folder for each teacher (named by its fingerprint and by what is wanted of it) with safetensors files of rows. Where the
teacher treats rows of a batch one by one, as models in eval mode do and a trial on the first batch shows, each row is a key of its
own, so that any order and any batch size finds it; otherwise a batch is. What a batch needed is written at once, beside its place and
renamed, so that a run that was killed finds what it had; several processes may fill one folder.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import safetensors
from safetensors import SafetensorError
from safetensors import numpy as files

from netwright.ir.fingerprint import fingerprint
from netwright.ir.program import Program
from netwright.training.errors import TrainingError

_OPEN_FILES = 64
_KEY_BYTES = 16
_INFO = "teacher.json"
_KEYS = "keys"

Arrays = Mapping[str, np.ndarray]
Compute = Callable[[Arrays], dict[str, np.ndarray]]


class _Slice(Protocol):
    def __getitem__(self, rows: slice) -> np.ndarray: ...


class _Handle(Protocol):
    def get_slice(self, name: str) -> _Slice: ...
    def get_tensor(self, name: str) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a row lies."""

    file: str
    row: int


class OutputCache:
    """What a teacher gives for rows or batches that it has seen.

    Args:
        folder: of all teachers; made where it does not exist.
        program: the teacher.
        wanted: names of its values.
        note: what else its results depend on, such as what runs it.

    Raises:
        TrainingError: the folder cannot be made or read.
    """

    def __init__(self, folder: str | os.PathLike[str], program: Program, wanted: Sequence[str], *, note: str = "") -> None:
        self.key = teacher_key(program, wanted, note)
        self.path = Path(folder) / self.key
        self.computed = 0
        """Rows (or batches) that the teacher had to compute."""
        self.found = 0
        """Rows (or batches) that were there."""
        self._wanted = tuple(wanted)
        self._index: dict[bytes, _Place] = {}
        self._open: OrderedDict[str, _Handle] = OrderedDict()
        self._by_row: bool | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._by_row = self._read_info()
            for file in sorted(self.path.glob("*.safetensors")):
                self._take_up(file.name)
        except OSError as error:
            raise TrainingError(f"The cache cannot be used: {error}.", place=str(folder), remedy="Give another folder.") from error

    def get(self, inputs: Arrays, compute: Compute) -> dict[str, np.ndarray]:
        """The wanted values for a batch; what is not there is computed, the missing rows together, and kept.

        Args:
            inputs: everything that the teacher's results depend on.
            compute: what computes them.
        """
        if self._by_row is None:
            self._by_row = self._try_rows(inputs, compute)
            self._write_info(self._by_row)
        rows = _rows_of(inputs) if self._by_row else None
        if rows is None:
            return self._whole(inputs, compute)
        keys = [_digest({name: array[row] for name, array in inputs.items()}) for row in range(rows)]
        missing = {key: row for row, key in reversed(list(enumerate(keys))) if key not in self._index}
        if missing:
            chosen = list(missing.values())
            self._write(list(missing), compute({name: array[chosen] for name, array in inputs.items()}))
        self.computed += len(missing)
        self.found += sum(key not in missing for key in keys)
        found = [self._get(key) for key in keys]
        return {name: np.stack([row[name] for row in found]) for name in self._wanted}

    # ---- reading ---------------------------------------------------------------------------------------------------

    def _whole(self, inputs: Arrays, compute: Compute) -> dict[str, np.ndarray]:
        key = _digest(inputs)
        if key in self._index:
            self.found += 1
        else:
            fresh = compute(inputs)
            self._write([key], {name: fresh[name][None] for name in self._wanted})
            self.computed += 1
        return self._get(key)

    def _get(self, key: bytes) -> dict[str, np.ndarray]:
        place = self._index[key]
        handle = self._handle(place.file)
        return {name: handle.get_slice(f"value{position}")[place.row : place.row + 1][0] for position, name in enumerate(self._wanted)}

    def _handle(self, file: str) -> _Handle:
        handle = self._open.get(file)
        if handle is None:
            opened: object = safetensors.safe_open(str(self.path / file), framework="numpy")
            handle = cast("_Handle", opened)
            self._open[file] = handle
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)
        self._open.move_to_end(file)
        return handle

    def _take_up(self, file: str) -> None:
        """Index a file; a damaged one is left aside, and its rows are computed again."""
        try:
            keys = self._handle(file).get_tensor(_KEYS)
        except (SafetensorError, OSError, KeyError):
            self._open.pop(file, None)
            return
        for row, key in enumerate(keys):
            self._index.setdefault(key.tobytes(), _Place(file, row))

    # ---- writing ---------------------------------------------------------------------------------------------------

    def _write(self, keys: list[bytes], rows: Arrays) -> None:
        name = f"{blake2b(b''.join(keys), digest_size=8).hexdigest()}.safetensors"
        tensors = {f"value{position}": rows[wanted] for position, wanted in enumerate(self._wanted)}
        tensors[_KEYS] = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, _KEY_BYTES)
        _write_atomically(self.path / name, lambda place: _save(tensors, place))
        self._open.pop(name, None)
        self._index.update((key, _Place(name, row)) for row, key in enumerate(keys))

    # ---- rows or batches -------------------------------------------------------------------------------------------

    def _try_rows(self, inputs: Arrays, compute: Compute) -> bool:
        """Whether the first and the last row alone give what they give within the batch."""
        rows = _rows_of(inputs)
        if rows is None or rows < 2:
            return False
        whole = compute(inputs)
        if any(array.ndim == 0 or len(array) != rows for array in whole.values()):
            return False
        return all(_alike(whole, row, compute({name: array[row : row + 1] for name, array in inputs.items()})) for row in (0, rows - 1))

    def _read_info(self) -> bool | None:
        file = self.path / _INFO
        if not file.exists():
            return None
        try:
            info = cast("dict[str, object]", json.loads(file.read_text(encoding="utf-8")))
        except ValueError:
            return None
        return bool(info.get("rows"))

    def _write_info(self, by_row: bool) -> None:
        text = json.dumps({"rows": by_row, "values": list(self._wanted)})
        _write_atomically(self.path / _INFO, lambda place: place.write_text(text, encoding="utf-8"))


def teacher_key(program: Program, wanted: Sequence[str], note: str = "") -> str:
    """What tells one teacher's outputs from another's: its structure, every byte of its weights, and what is wanted of it."""
    state = blake2b(fingerprint(program).encode(), digest_size=16)
    for value in program.initializers():
        if value.const_value is not None:
            state.update(value.const_value.tobytes())
    state.update(json.dumps([*wanted, note]).encode())
    return state.hexdigest()


def _rows_of(inputs: Arrays) -> int | None:
    """How many rows the inputs have, if they agree."""
    lengths = {len(array) if array.ndim else 0 for array in inputs.values()}
    found = lengths.pop() if len(lengths) == 1 else 0
    return found or None


def _alike(whole: Arrays, row: int, alone: Arrays) -> bool:
    for name, array in whole.items():
        if alone[name].shape != (1, *array.shape[1:]):
            return False
        if not np.allclose(alone[name][0], array[row], rtol=1e-3, atol=1e-4, equal_nan=True):
            return False
    return True


def _digest(arrays: Arrays) -> bytes:
    state = blake2b(digest_size=_KEY_BYTES)
    for name, array in sorted(arrays.items()):
        state.update(f"{name}:{array.dtype}:{array.shape}:".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.digest()


def _save(tensors: dict[str, np.ndarray], place: Path) -> None:
    files.save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, str(place))


def _write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(beside)
        beside.replace(path)
    except OSError as error:
        raise TrainingError(
            f"The cache cannot be written: {error}.", place=str(path.parent), remedy="Make room, or give another folder."
        ) from error
    finally:
        beside.unlink(missing_ok=True)
