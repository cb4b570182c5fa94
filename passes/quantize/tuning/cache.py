"""Timings that were taken before, by signature: equal layers are measured once, and a second run hardly measures at all.

One JSON file for each machine (runtime and its version, processor, threads), in a folder of the user's. It is written beside its place
and renamed, after what other processes added to it was read again, so that several may use it. A file that cannot be read or written is
no reason to fail: it is measured anew, and not kept.
"""

from __future__ import annotations

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import cast

_FORMAT = 1


class TimingCache:
    """Milliseconds by key.

    Args:
        folder: where files lie; None keeps timings in memory alone.
        machine: what they hold for; empty keeps them in memory alone.
    """

    def __init__(self, folder: Path | None = None, machine: str = "") -> None:
        self._machine = machine
        self._file: Path | None = None
        self.measured = 0
        """Programs that had to be timed."""
        self.found = 0
        """Programs that had not."""
        if folder is not None and machine:
            self._file = folder / f"{blake2b(f'{_FORMAT} {machine}'.encode(), digest_size=8).hexdigest()}.json"
        self._known = self._read()
        self._fresh: dict[str, float] = {}

    def get(self, key: str) -> float | None:
        """A timing."""
        return self._known.get(key)

    def put(self, key: str, ms: float) -> None:
        """Keep a timing; written by `save`."""
        self._known[key] = self._fresh[key] = ms

    def save(self) -> None:
        """Write what is new."""
        if self._file is None or not self._fresh:
            return
        text = json.dumps({"machine": self._machine, "ms": {**self._read(), **self._fresh}}, indent=0)
        beside = self._file.with_name(f".{self._file.name}.{os.getpid()}.part")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(text, encoding="utf-8")
            beside.replace(self._file)
        except OSError:
            return
        self._fresh = {}

    def _read(self) -> dict[str, float]:
        if self._file is None:
            return {}
        try:
            held: object = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        found = cast("dict[str, object]", held).get("ms") if isinstance(held, dict) else None
        if not isinstance(found, dict):
            return {}
        return {
            str(key): float(ms)
            for key, ms in cast("dict[object, object]", found).items()
            if isinstance(ms, int | float) and not isinstance(ms, bool) and ms > 0
        }
