"""Checkpoints: a folder for each, written beside its place and renamed, so that a half-written one is never taken up.

A checkpoint is `step-00000120/` with `state.json` (numbers, and a checksum of every file) and safetensors files; nothing is
pickled, so that one from elsewhere cannot run code.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

import torch

from netwright.training.errors import CheckpointError
from netwright.training.tensor_files import read_tensors, write_tensors

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Tensors: TypeAlias = Mapping[str, torch.Tensor]

_STATE = "state.json"
_NAME = re.compile(r"step-(\d+)")
_UNFINISHED = ".unfinished-"
_REPLACED = ".replaced-"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a run is at one moment.

    Attributes:
        step: how many steps were made.
        facts: numbers and names.
        tensors: by file, then by name.
    """

    step: int
    facts: Mapping[str, Json]
    tensors: Mapping[str, Tensors]


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        path: the folder; made where it does not exist.
        keep: how many checkpoints stay.

    Raises:
        CheckpointError: it cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str], *, keep: int = 2) -> None:
        self.path = Path(path)
        self._keep = keep
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"The folder cannot be made: {error}.", place=str(path), remedy="Give another one.") from error

    def steps(self) -> list[int]:
        """The steps that there are whole checkpoints of, in order."""
        found = (_NAME.fullmatch(one.name) for one in self.path.iterdir() if one.is_dir())
        return sorted(int(match.group(1)) for match in found if match)

    def save(self, snapshot: Snapshot) -> Path:
        """Write a checkpoint, then remove those beyond the number to be kept.

        Raises:
            CheckpointError: it cannot be written.
        """
        place = self._place(snapshot.step)
        unfinished = self.path / f"{_UNFINISHED}{place.name}-{os.getpid()}"
        replaced = self.path / f"{_REPLACED}{place.name}"
        try:
            self.clear_unfinished()
            unfinished.mkdir()
            _write(unfinished, snapshot)
            if place.exists():
                place.rename(replaced)
            unfinished.rename(place)
            _sync(self.path)
            shutil.rmtree(replaced, ignore_errors=True)
            for step in self.steps()[: -self._keep]:
                shutil.rmtree(self._place(step))
        except OSError as error:
            raise CheckpointError(
                f"The checkpoint cannot be written: {error}.", place=str(place), remedy="Make room, or give another folder."
            ) from error
        return place

    def load(self) -> Snapshot | None:
        """The newest checkpoint; None where there is none.

        Raises:
            CheckpointError: it is damaged; the remedy names the one before.
        """
        steps = self.steps()
        if not steps:
            return None
        place = self._place(steps[-1])
        try:
            return _read(place, steps[-1])
        except _DamagedError as error:
            before = f"go on from {self._place(steps[-2]).name}" if len(steps) > 1 else "start anew"
            raise CheckpointError(
                f"The checkpoint {place.name} is damaged: {error}.", place=str(place), remedy=f"Remove this folder to {before}."
            ) from error

    def clear_unfinished(self) -> None:
        """Tidy up after a killed process: what was half-written goes; what was about to be replaced, and was not, comes back."""
        for one in self.path.iterdir():
            replaced = self.path / one.name.removeprefix(_REPLACED)
            if one.name.startswith(_REPLACED) and not replaced.exists():
                one.rename(replaced)
            elif one.name.startswith((_UNFINISHED, _REPLACED)):
                shutil.rmtree(one, ignore_errors=True)

    def _place(self, step: int) -> Path:
        return self.path / f"step-{step:08d}"


class _DamagedError(Exception):
    """Why a checkpoint cannot be read."""


def _write(folder: Path, snapshot: Snapshot) -> None:
    checksums: dict[str, int] = {}
    for name, tensors in snapshot.tensors.items():
        file = folder / f"{name}.safetensors"
        write_tensors(file, tensors)
        checksums[file.name] = _checksum(file)
        _sync(file)
    facts = json.dumps(snapshot.facts, sort_keys=True)
    state = {"step": snapshot.step, "facts": facts, "checksum": zlib.crc32(facts.encode()), "files": checksums}
    (folder / _STATE).write_text(json.dumps(state), encoding="utf-8")
    _sync(folder / _STATE)
    _sync(folder)


def _read(folder: Path, step: int) -> Snapshot:
    try:
        state = cast("dict[str, object]", json.loads((folder / _STATE).read_text(encoding="utf-8")))
        facts, files = cast("str", state["facts"]), cast("dict[str, int]", state["files"])
        whole = state["step"] == step and zlib.crc32(facts.encode()) == state["checksum"]
        changed = [name for name, checksum in files.items() if _checksum(folder / name) != checksum]
        if not whole or changed:
            raise _DamagedError(f"{', '.join(changed) or _STATE} has changed since it was written")
        tensors = {Path(name).stem: read_tensors(folder / name) for name in files}
        return Snapshot(step, cast("dict[str, Json]", json.loads(facts)), tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _DamagedError(f"{type(error).__name__}, {error}") from error


def _checksum(file: Path) -> int:
    found = 0
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            found = zlib.crc32(chunk, found)
    return found


def _sync(path: Path) -> None:
    """See to it that a file's contents, or a folder's entries, are on the disk before anything that relies on them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
