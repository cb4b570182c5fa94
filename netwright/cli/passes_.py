"""`netwright passes [NAME]`."""

from __future__ import annotations

from typing import Annotated

import typer

from netwright.cli.arguments import Json


def passes(
    name: Annotated[str | None, typer.Argument(help="One pass; all where left out.")] = None,
    json: Json = False,
) -> None:
    """List the passes, or tell all about one: options, numerics, needs."""
    from netwright.catalog import catalog, describe
    from netwright.cli.output import emit, show

    found = catalog() if name is None else (describe(name),)
    if json:
        emit({"passes": [info.to_dict() for info in found]})
        return
    from rich.table import Table
    from rich.text import Text

    if name is None:
        table = Table("pass", "what it does", "numerics", "needs")
        for info in found:
            table.add_row(info.name, info.summary, info.numerics, ", ".join(info.needs))
        show(table)
        return
    info = found[0]
    show(Text(f"{info.name}: {info.help}\n"))
    facts = (
        ("numerics", info.numerics),
        ("needs", ", ".join(info.needs)),
        ("requires", ", ".join(info.requires)),
        ("breaks", ", ".join(info.breaks)),
    )
    show(Text("\n".join(f"{label}: {value}" for label, value in facts if value)))
    table = Table("option", "type", "default", "what it does")
    for option in info.options:
        table.add_row(*(Text(cell) for cell in (option.name, option.type, option.default or "", option.help)))
    if info.options:
        show(table)
