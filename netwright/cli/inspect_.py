"""`netwright inspect MODEL`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, cast

import typer

from netwright.cli.arguments import Json, Model, Shapes

if TYPE_CHECKING:
    from netwright.ir.cost import CostRow
    from netwright.ir.program import Program


class Grouping(StrEnum):
    """How the table is grouped."""

    layer = "layer"
    op = "op"
    module = "module"


def inspect(
    model: Model,
    by: Annotated[Grouping, typer.Option("--by", help="Rows of the table.")] = Grouping.op,
    shape: Shapes = None,
    json: Json = False,
) -> None:
    """Show what is in a model: signature, size, cost by layer, operator or module, shared weights."""
    import netwright as nw
    from netwright.cli.arguments import input_shapes
    from netwright.cli.output import emit, show
    from netwright.ir.cost import cost, default_bindings
    from netwright.ir.fingerprint import fingerprint
    from netwright.ir.ties import ties
    from netwright.report import measure_size

    program = nw.load(model)
    dims = {**default_bindings(program), **input_shapes(shape, program)[1]}
    stats = measure_size(program, dims)
    costs = program.fact(cost)
    rows = {Grouping.layer: costs.by_layer, Grouping.op: costs.by_op, Grouping.module: costs.by_module}[by](dims)
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
        "rows": [row.to_dict() for row in rows],
        "ties": shared.to_dict(),
        "fingerprint": fingerprint(program),
    }
    if json:
        emit(data)
        return
    show(*_tables(data, rows))


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


def _tables(data: dict[str, object], rows: list[CostRow]) -> list[object]:
    from rich.table import Table
    from rich.text import Text

    from netwright.report import human_bytes, human_count

    def line(values: object) -> str:
        items = cast("list[dict[str, object]]", values)
        return ", ".join(f"{v['name']}: {v['dtype']}{v['shape']}" for v in items)

    at = ", ".join(f"{name}={size}" for name, size in cast("dict[str, int]", data["dims"]).items())
    head = Text(
        f"{data['name']}  opset {data['opset']}\nin   {line(data['inputs'])}\nout  {line(data['outputs'])}\n"
        f"{data['nodes']} nodes, {human_count(float(str(data['params'])))} params, "
        f"{'unknown' if data['macs'] is None else human_count(float(str(data['macs'])))} MACs"
        f"{f' (at {at})' if at else ''}, {human_bytes(float(str(data['bytes'])))} saved"
    )
    table = Table(str(data["by"]), "nodes", "params", "MACs", "bytes read", "bytes written")
    for row in rows:
        cells = (row.name, str(row.nodes), human_count(row.params), _count(row.macs), _bytes(row.bytes_read), _bytes(row.bytes_written))
        table.add_row(*(Text(cell) for cell in cells))
    return [head, table]


def _count(value: float | None) -> str:
    from netwright.report import human_count

    return "?" if value is None else human_count(value)


def _bytes(value: float | None) -> str:
    from netwright.report import human_bytes

    return "?" if value is None else human_bytes(value)
