"""`netwright inspect MODEL`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, cast

import typer

from netwright.cli.arguments import Json, Model, Shapes

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from netwright.ir.cost import CostRow
    from netwright.ir.coupling import Group
    from netwright.ir.program import Program

_MOST_MEMBERS = 4
"""How many weights of a group the table shows; JSON has all."""


class Grouping(StrEnum):
    """How the table is grouped."""

    layer = "layer"
    op = "op"
    module = "module"
    group = "group"


def inspect(
    model: Model,
    by: Annotated[Grouping, typer.Option("--by", help="Rows of the table.")] = Grouping.op,
    shape: Shapes = None,
    json: Json = False,
) -> None:
    """Show what is in a model: signature, size, cost by layer, operator or module, shared weights, or what can be pruned (by group)."""
    import netwright as nw
    from netwright.cli.arguments import input_shapes
    from netwright.cli.output import emit, show
    from netwright.ir.cost import cost, default_bindings
    from netwright.ir.coupling import coupling
    from netwright.ir.fingerprint import fingerprint
    from netwright.ir.ties import ties
    from netwright.report import measure_size

    program = nw.load(model)
    dims = {**default_bindings(program), **input_shapes(shape, program)[1]}
    stats = measure_size(program, dims)
    costs = program.fact(cost)
    groups = program.fact(coupling).groups if by is Grouping.group else ()
    tables = {Grouping.layer: costs.by_layer, Grouping.op: costs.by_op, Grouping.module: costs.by_module}
    rows = tables[by](dims) if by in tables else []
    shared = program.fact(ties)
    data = {
        "path": model,
        "name": program.name,
        "opset": program.opset,
        "inputs": _signature(program, inputs=True),
        "outputs": _signature(program, inputs=False),
        **{key: value for key, value in stats.to_dict().items() if key not in ("latency_ms", "metric")},
        "dims": dims,
        "by": str(by),
        "rows": [_group(group) for group in groups] if by is Grouping.group else [row.to_dict() for row in rows],
        "ties": shared.to_dict(),
        "fingerprint": fingerprint(program),
    }
    if json:
        emit(data)
        return
    show(_head(data), _group_table(groups, sized=bool(shape)) if by is Grouping.group else _cost_table(data, rows))


def _signature(program: Program, *, inputs: bool) -> list[dict[str, object]]:
    values = program.inputs if inputs else program.outputs
    return [
        {
            "name": value.name,
            "dtype": value.dtype.name if value.dtype is not None else None,
            "shape": None if value.shape is None else [dim if isinstance(dim, int) else str(dim) for dim in value.shape],
        }
        for value in values
    ]


def _group(group: Group) -> dict[str, object]:
    """A coupling group as JSON."""
    return {
        "name": group.name,
        "module": group.module,
        "kind": group.kind,
        "units": group.size,
        "removable": int(group.removable.sum()),
        "members": [{"weight": part.weight, "axis": part.axis, "role": part.role} for part in group.slices],
        "params_per_unit": float(group.params.mean()),
        "macs_per_unit": float(group.macs.mean()),
        "frozen": group.frozen,
        "inexact": group.inexact,
    }


def _group_table(groups: tuple[Group, ...], *, sized: bool) -> Table:
    """The groups; `sized` where sizes were given, by which their multiply-accumulates do not go."""
    from rich.table import Table
    from rich.text import Text

    from netwright.report import human_count

    table = Table(
        "group", "kind", "units", "members", "params per unit", f"MACs per unit{' at default sizes' if sized else ''}", "stays, because"
    )
    for group in groups:
        able = int(group.removable.sum())
        units = str(group.size) if group.frozen or able == group.size else f"{group.size} ({able} can go)"
        members = list(dict.fromkeys(part.weight for part in group.slices))
        shown = ", ".join(members[:_MOST_MEMBERS]) + (f" and {len(members) - _MOST_MEMBERS} more" if len(members) > _MOST_MEMBERS else "")
        why = group.frozen or (f"not exact: {group.inexact}" if group.inexact else "")
        name = f"{group.name}\n{group.module}" if group.module else group.name
        cells = (name, group.kind, units, shown, human_count(float(group.params.mean())), human_count(float(group.macs.mean())), why)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _head(data: dict[str, object]) -> Text:
    from rich.text import Text

    from netwright.report import human_bytes, human_count

    def line(values: object) -> str:
        items = cast("list[dict[str, object]]", values)
        return ", ".join(f"{v['name']}: {v['dtype']}{v['shape']}" for v in items)

    at = ", ".join(f"{name}={size}" for name, size in cast("dict[str, int]", data["dims"]).items())
    return Text(
        f"{data['name']}  opset {data['opset']}\nin   {line(data['inputs'])}\nout  {line(data['outputs'])}\n"
        f"{data['nodes']} nodes, {human_count(float(str(data['params'])))} params, "
        f"{'unknown' if data['macs'] is None else human_count(float(str(data['macs'])))} MACs"
        f"{f' (at {at})' if at else ''}, {human_bytes(float(str(data['bytes'])))} saved"
    )


def _cost_table(data: dict[str, object], rows: list[CostRow]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from netwright.report import human_count

    table = Table(str(data["by"]), "nodes", "params", "MACs", "bytes read", "bytes written")
    for row in rows:
        cells = (row.name, str(row.nodes), human_count(row.params), _count(row.macs), _bytes(row.bytes_read), _bytes(row.bytes_written))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _count(value: float | None) -> str:
    from netwright.report import human_count

    return "?" if value is None else human_count(value)


def _bytes(value: float | None) -> str:
    from netwright.report import human_bytes

    return "?" if value is None else human_bytes(value)
