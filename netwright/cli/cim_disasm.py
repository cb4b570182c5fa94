"""`netwright cim disasm F.nwcim`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.arguments import Json


def disasm(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .nwcim file.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file for the text, instead of stdout.")] = None,
    data: Annotated[bool, typer.Option("--data", help="With weights and regions in it, so that the text assembles by itself.")] = False,
    json: Json = False,
) -> None:
    """Print a chip's program: tensors, buffers, units, and every tile's instructions."""
    from netwright.backends.cim.program import disassemble, load
    from netwright.cli.output import emit, note
    from netwright.ir.files import require_folders, write_text

    require_folders(output)
    chip = load(file)
    if json:
        from netwright.backends.cim.program.records import to_plain

        emit(to_plain(chip)[0])
        return
    text = disassemble(chip, data=data)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_text(output, text)
    note(f"wrote {output}")


def asm(
    file: Annotated[Path, typer.Argument(metavar="TEXT", help="A program's text, as `disasm` writes it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .nwcim file.")],
    data: Annotated[Path | None, typer.Option("--data", help="A .nwcim file with the data that the text leaves out.")] = None,
) -> None:
    """Make a .nwcim file of a program's text."""
    from netwright.backends.cim.program import assemble, load, save
    from netwright.cli.output import note
    from netwright.ir.errors import DataError
    from netwright.ir.files import require_folders

    require_folders(output)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The text cannot be read: {error}.", place=str(file), remedy="Name a file that `disasm` wrote.") from error
    save(assemble(text, data_of=load(data) if data is not None else None, place=str(file)), output)
    note(f"wrote {output}")
