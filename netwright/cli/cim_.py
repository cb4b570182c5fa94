"""`netwright cim`: the chips of the compute-in-memory backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from netwright.cli.arguments import Json
from netwright.cli.cim_disasm import asm, disasm

if TYPE_CHECKING:
    from netwright.backends.cim.arch import Arch

app = typer.Typer(help="Compute-in-memory chips: which there are, what they are made of.", no_args_is_help=True, rich_markup_mode="rich")
app.command("disasm")(disasm)
app.command("asm")(asm)


@app.command("archs")
def archs(json: Json = False) -> None:
    """List the chips that come with netwright."""
    from netwright.backends.cim.arch import DEFAULT, presets
    from netwright.cli.output import emit, note, show

    found = presets()
    if json:
        emit({"default": DEFAULT, "archs": [_facts(arch) for arch in found]})
        return
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for title in ("chip", "about", "node", "array", "weights", "converter", "arrays", "cells MB"):
        table.add_column(title, no_wrap=title == "chip")
    for arch in found:
        facts = _facts(arch)
        row = (f"{arch.node_nm:g} nm", facts["array"], facts["cells"], facts["converter"], f"{arch.arrays:,}", f"{facts['megabytes']:.1f}")
        table.add_row(Text(arch.name), Text(arch.about), *(Text(str(cell)) for cell in row))
    show(table)
    note(f"`--target cim` is cim:{DEFAULT}; `netwright cim show NAME --yaml > mine.yaml` begins a chip of your own: cim:mine.yaml")


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(metavar="CHIP", help="A chip's name, or a .yaml file.")] = "",
    yaml: Annotated[bool, typer.Option("--yaml", help="Print it as YAML: the beginning of a chip of your own.")] = False,
    json: Json = False,
) -> None:
    """Tell all about one chip: every figure, what it means, where it comes from."""
    from netwright.backends.cim.arch import dump_arch, resolve
    from netwright.backends.cim.arch.figures import figures, resolution
    from netwright.cli.output import emit, show

    if json and yaml:
        raise typer.BadParameter("give --json or --yaml, not both")
    arch = resolve(name)
    if yaml:
        typer.echo(dump_arch(arch), nl=False)
        return
    if json:
        from dataclasses import asdict

        emit({**asdict(arch), "arrays": arch.arrays, "cells_megabytes": _facts(arch)["megabytes"]})
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("figure", "value", "what it is")
    for one in figures(arch):
        if one.path not in ("name", "about", "sources"):
            table.add_row(Text(one.path), Text(_written(one.value)), Text(one.help))
    show(
        Text(f"{arch.name}: {arch.about}\n{resolution(arch)}\n"),
        table,
        Text("\n".join(("Sources:", *(f"- {source}" for source in arch.sources)))),
    )


def _facts(arch: Arch) -> dict[str, object]:
    """A chip in one row."""
    array, adc = arch.array, arch.array.adc
    rows = f"{array.rows}" if array.active_rows == array.rows else f"{array.rows} ({array.active_rows} at once)"
    return {
        "name": arch.name,
        "about": arch.about,
        "node_nm": arch.node_nm,
        "array": f"{rows} x {array.columns}, {array.device}",
        "cells": f"{array.encoding.replace('_', ' ')}, {array.cell_bits} b a cell, {array.digit_bits} b a cycle",
        "converter": "adder tree" if adc is None else f"{adc.bits} b, {adc.mode}",
        "tiles": arch.network.tiles,
        "arrays": arch.arrays,
        "megabytes": arch.arrays * array.rows * array.columns * array.cell_bits / 8e6,
    }


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
