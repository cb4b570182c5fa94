"""Programs of a chip: instructions (`model`), their text, their file, and whether they are sound."""

from netwright.backends.cim.program.file import is_chip_file, load, save
from netwright.backends.cim.program.text import assemble, disassemble
from netwright.backends.cim.program.verify import verify

__all__ = ["assemble", "disassemble", "is_chip_file", "load", "save", "verify"]
