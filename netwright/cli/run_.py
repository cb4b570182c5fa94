"""`netwright run MODEL --input x.npz`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.arguments import Json, Model, Threads


def run(
    model: Model,
    inputs: Annotated[Path, typer.Option("--input", "-i", help="An .npz with one array per input.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="An .npz for the outputs.")] = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Run a model on one batch."""
    import netwright as nw
    from netwright.backends.onnxruntime import lower
    from netwright.cli.output import emit, note, show
    from netwright.data import as_batches
    from netwright.ir.files import require_folders, write_arrays

    require_folders(output)
    program = nw.load(model)
    names = {value.name for value in program.inputs}
    batch = next(iter(as_batches(str(inputs), program)))
    outputs = lower(program, threads=threads).run({name: array for name, array in batch.items() if name in names})
    if output is not None:
        write_arrays(output, outputs)
    if json:
        values = {
            name: {"dtype": str(a.dtype), "shape": list(a.shape), "values": a.tolist() if output is None else None}
            for name, a in outputs.items()
        }
        emit({"model": model, "outputs": values, "output": str(output) if output else None})
        return
    from rich.table import Table

    table = Table("output", "type", "shape", "min", "mean", "max")
    for name, found in outputs.items():
        numeric = found.size > 0 and found.dtype.kind in "fiub"
        figures = (float(found.min()), float(found.mean()), float(found.max())) if numeric else ()
        low, mean, high = (f"{figure:.5g}" for figure in figures) if figures else ("", "", "")
        table.add_row(name, str(found.dtype), "x".join(map(str, found.shape)) or "scalar", low, mean, high)
    show(table)
    if output is not None:
        note(f"wrote {output}")
