"""Silence for torch's exporter, which prints, warns and logs its way through every export."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Generator


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Hold back log messages, warnings and what is written to stderr; everything is as before on the way out.

    Nothing is lost that a user needs: what goes wrong arrives as an exception.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
