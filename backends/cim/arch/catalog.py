"""The chips that netwright knows by name, and how a user names one: a preset, or a YAML file."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import resources
from pathlib import Path

from netwright.backends.cim.arch.checks import ChipError
from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.arch.reading import parse_arch, read_arch

DEFAULT = "generic-28nm"
"""The chip where none is named."""

_FOLDER = resources.files("netwright.backends.cim.arch.presets")


@cache
def preset_names() -> tuple[str, ...]:
    """Names of the presets, the default first, the others by the alphabet."""
    found = sorted(one.name.removesuffix(".yaml") for one in _FOLDER.iterdir() if one.name.endswith(".yaml"))
    return (DEFAULT, *(name for name in found if name != DEFAULT))


@cache
def preset(name: str = DEFAULT) -> Arch:
    """A chip that comes with netwright.

    Raises:
        ChipError: no preset has this name.
        MissingExtraError: pyyaml or pydantic is not installed.
    """
    if name not in preset_names():
        near = difflib.get_close_matches(name, preset_names(), 1)
        hint = f"Did you mean {near[0]}?" if near else f"Presets: {', '.join(preset_names())}."
        raise ChipError(f"No chip is called {name!r}.", place="chip", remedy=f"{hint} A file of your own ends in .yaml.")
    return parse_arch(_FOLDER.joinpath(f"{name}.yaml").read_text(encoding="utf-8"), place=f"preset {name}")


def presets() -> tuple[Arch, ...]:
    """All presets, the default first."""
    return tuple(preset(name) for name in preset_names())


def resolve(text: str = "") -> Arch:
    """The chip that a user names: a preset's name, the path of a YAML file, or nothing for the default.

    Raises:
        ChipError: there is no such chip, or it is not sound.
        MissingExtraError: pyyaml or pydantic is not installed.
    """
    if not text:
        return preset()
    if text.endswith((".yaml", ".yml")):
        return read_arch(Path(text))
    return preset(text)
