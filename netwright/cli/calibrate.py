"""`netwright calibrate MODEL --calibration D -o STATS`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netwright.cli.arguments import Json, Model, Seed, Threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netwright.passes.quantize.calibration import Summary


def calibrate(
    model: Model,
    calibration: Annotated[str, typer.Option(help="Batches: an .npz or a folder of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .npz file to write.")],
    pipeline: Annotated[str, typer.Option("-p", "--pipeline", help="Passes that will stand before quantize, such as simplify.")] = "",
    where: Annotated[list[str] | None, typer.Option(help="Pattern of the activations wanted; repeatable; all where not given.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Samples to a batch, where a file holds all of them.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many batches.")] = None,
    top: Annotated[int, typer.Option(min=0, help="How many activations to show: those with the farthest outliers.")] = 10,
    seed: Seed = 0,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Learn what activations range over, for static quantization, and save it."""
    import netwright as nw
    from netwright.cli.output import emit, note, show
    from netwright.ir.files import require_folders

    require_folders(output)
    statistics = nw.calibrate(
        model, calibration, pipeline=pipeline, where=where or (), batch_size=batch_size, limit=limit, seed=seed, threads=threads
    )
    statistics.save(output)
    if json:
        activations = [one.to_dict() for one in statistics.summary()]
        emit(
            {
                "model": model,
                "output": str(output),
                "fingerprint": statistics.fingerprint,
                "runs": statistics.runs,
                "activations": activations,
            }
        )
        return
    summary = statistics.summary()
    if top:
        show(_table(summary, top))
    for one in summary:
        if one.obstacle is not None:
            note(one.obstacle)
    note(f"wrote {output}: {len(statistics.tensors)} activations, {statistics.runs} runs")


def _table(summary: Sequence[Summary], top: int) -> object:
    """The activations whose outliers lie farthest out."""
    from rich.table import Table

    table = Table("activation", "elements", "min", "max", "zeros", "of the range, 99.99 % need")
    for one in sorted((one for one in summary if one.obstacle is None), key=lambda one: one.used)[:top]:
        table.add_row(one.name, f"{one.elements:,}", f"{one.low:.5g}", f"{one.high:.5g}", f"{one.zeros:.1%}", f"{one.used:.1%}")
    return table
