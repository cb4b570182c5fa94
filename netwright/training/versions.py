"""Versions of what a run depends on, kept in its checkpoints for people to read."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("netwright", "torch", "accelerate", "safetensors", "numpy", "onnx-ir")


def versions() -> dict[str, str]:
    """By package; Python's too."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
