"""Ctrl-C during training ends it between two steps, when the weights are whole; a second one ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class StopRequest:
    """Whether the user wants to stop."""

    asked: bool = False


@contextmanager
def stop_requests() -> Generator[StopRequest]:
    """Turn the first Ctrl-C into a request; outside of the main thread, where Python hands out no signals, nothing changes."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: FrameType | None) -> None:
        request.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, before)
