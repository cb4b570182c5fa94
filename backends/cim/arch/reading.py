"""Chip descriptions in YAML: from text to `Arch`, and back.

A description is a mapping whose keys are the fields of `Arch`, nested as they are; what is left out has the fields' defaults. Types are
checked by pydantic, figures and contradictions by `checks`; every error names the file, the line and the field.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from netwright.backends.cim.arch.checks import ChipError, problems
from netwright.backends.cim.arch.lines import read_text, yaml_module
from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.arch.schema import build

MAX_BYTES = 1_000_000
"""Longest description that is read; real ones have 2 KB."""


def read_arch(path: Path) -> Arch:
    """The chip that a file describes.

    Raises:
        ChipError: the file is missing, not YAML, or not a sound chip; the place is the line and the field.
        MissingExtraError: pyyaml or pydantic is not installed.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ChipError(f"The file has {size:,} bytes.", place=str(path), remedy=f"A chip description has at most {MAX_BYTES:,}.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ChipError(
            f"The chip description cannot be read: {error}.", place=str(path), remedy="Give a readable file in UTF-8."
        ) from error
    return parse_arch(text, place=str(path))


def parse_arch(text: str, *, place: str = "chip description") -> Arch:
    """The chip that a YAML text describes.

    Args:
        text: the description.
        place: how errors name it, usually the file.

    Raises:
        ChipError: not YAML, or not a sound chip.
        MissingExtraError: pyyaml or pydantic is not installed.
    """
    read = read_text(text, place)
    arch = build(read)
    found = problems(arch)
    if not found:
        return arch
    also = "".join(f" Also {'.'.join(one.path)}: {one.message}" for one in found[1:4])
    raise ChipError(found[0].message + also, place=read.where(found[0].path), remedy=found[0].remedy)


def dump_arch(arch: Arch) -> str:
    """The YAML of a chip, every field written out; `parse_arch` reads it back to an equal one.

    Raises:
        MissingExtraError: pyyaml is not installed.
    """
    return yaml_module().safe_dump(_listed(asdict(arch)), sort_keys=False, allow_unicode=True, width=140)


def _listed(value: object) -> object:
    """The same with lists for tuples, as YAML has them."""
    if isinstance(value, dict):
        return {key: _listed(one) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, tuple):
        return [_listed(one) for one in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return value
