"""Training needs packages that netwright alone does not bring along."""

from __future__ import annotations

import importlib.util

from netwright.ir.errors import MissingExtraError

_REQUIRED = ("torch", "accelerate", "safetensors")


def require_extra(place: str = "train") -> None:
    """Refuse to start without the packages of `netwright[train]`.

    Args:
        place: what asks for them, for the error.

    Raises:
        MissingExtraError: one is not installed.
    """
    for package in _REQUIRED:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"Training needs the package {package!r}.", place=place, remedy='Run pip install "netwright[train]".')
