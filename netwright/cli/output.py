"""What commands print: tables or JSON on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netwright.ir.errors import NetwrightError

USER_ERROR = 1
USAGE_ERROR = 2
INTERNAL_ERROR = 3
INTERRUPTED = 130


def emit(data: object) -> None:
    """Print JSON on stdout."""
    sys.stdout.write(json.dumps(data, indent=2, default=_plain, allow_nan=True) + "\n")


def show(*renderables: object) -> None:
    """Print rich renderables on stdout."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 140
    Console(width=width, highlight=False, soft_wrap=False).print(*renderables)


def note(text: str) -> None:
    """Print a line for people on stderr."""
    sys.stderr.write(text + "\n")


def fail(error: NetwrightError, *, as_json: bool) -> int:
    """Report a user's error in one paragraph, or as JSON; returns the exit code."""
    from netwright.ir.errors import PassCrash

    crashed = isinstance(error, PassCrash)
    if as_json:
        payload: dict[str, object] = dict(error.to_dict())
        if crashed:
            payload["reproducer"] = error.reproducer
        emit({"error": payload})
    else:
        note(f"error: {error}")
    return INTERNAL_ERROR if crashed else USER_ERROR


def usage_error(error: Exception, *, as_json: bool) -> int:
    """Report a usage error; returns the exit code."""
    message = str(getattr(error, "message", "") or error)
    if as_json:
        emit({"error": {"kind": "UsageError", "message": message, "place": "command line", "remedy": "See --help."}})
    elif type(error).__name__ != "NoArgsIsHelpError":
        note(f"usage error: {message} (try --help)")
    else:
        note(message)
    return USAGE_ERROR


def internal_error(error: Exception, *, as_json: bool) -> int:
    """Report a bug of netwright's, with the trace in a file; returns the exit code."""
    with tempfile.NamedTemporaryFile("w", prefix="netwright-crash-", suffix=".txt", delete=False, encoding="utf-8") as file:
        file.write("".join(traceback.format_exception(error)))
        file.write(f"\narguments: {sys.argv[1:]}\n")
    message = f"netwright failed: {type(error).__name__}: {error}"
    remedy = f"This is a bug in netwright; the trace is in {Path(file.name)}."
    if as_json:
        emit({"error": {"kind": "InternalError", "message": message, "place": file.name, "remedy": remedy, "reproducer": file.name}})
    else:
        note(f"internal error: {message}. {remedy}")
    return INTERNAL_ERROR


def _plain(value: object) -> object:
    if hasattr(value, "item"):
        return value.item()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]
    if hasattr(value, "tolist"):
        return value.tolist()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]
    return str(value)
