"""Chips as data: frozen dataclasses (`model`), YAML files (`reading`), the presets (`catalog`), and what makes a chip sound (`checks`)."""

from netwright.backends.cim.arch.catalog import DEFAULT, preset, preset_names, presets, resolve
from netwright.backends.cim.arch.checks import ChipError, Problem, check, problems
from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.arch.reading import dump_arch, parse_arch, read_arch

__all__ = [
    "DEFAULT",
    "Arch",
    "ChipError",
    "Problem",
    "check",
    "dump_arch",
    "parse_arch",
    "preset",
    "preset_names",
    "presets",
    "problems",
    "read_arch",
    "resolve",
]
