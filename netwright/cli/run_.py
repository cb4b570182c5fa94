"""`netwright run MODEL --input x.npz`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netwright.cli.arguments import Json, Threads

if TYPE_CHECKING:
    import numpy as np

    from netwright.backends.cim.report import ChipReport


def run(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An .onnx file, or a .nwcim file: a chip's program.")],
    inputs: Annotated[Path, typer.Option("--input", "-i", help="An .npz with one array per input.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="An .npz for the outputs.")] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Of a chip's program: energy, latency, area, utilisation.")] = False,
    page: Annotated[Path | None, typer.Option("--page", help="Of a chip's program: an HTML file with chip map and timeline.")] = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Run a model on one batch."""
    from netwright.backends.cim.program.file import is_chip_file
    from netwright.cli.output import emit, note, show
    from netwright.ir.files import require_folders, write_arrays, write_text

    require_folders(output, page)
    report: ChipReport | None = None
    if is_chip_file(model):
        from netwright.cli.run_chip import run_chip

        executable, outputs = run_chip(model, inputs, threads, quiet=json)
        report = executable.report() if stats or page is not None else None
        for told in executable.trace.fell_back if executable.trace is not None else ():
            note(told)
    elif stats or page is not None:
        raise typer.BadParameter("--stats and --page are for a chip's program, a .nwcim file.")
    else:
        outputs = _run_onnx(model, inputs, threads)
    if output is not None:
        write_arrays(output, outputs)
    if page is not None and report is not None:
        write_text(page, report.html())
    if json:
        told = {"stats": report.to_dict()} if report is not None and stats else {}
        emit({"model": model, "outputs": _values(outputs, whole=output is None), "output": str(output) if output else None, **told})
        return
    show(_table(outputs))
    if report is not None and stats:
        show(report)
    for written in (output, page):
        if written is not None:
            note(f"wrote {written}")


def _run_onnx(model: str, inputs: Path, threads: int | None) -> dict[str, np.ndarray]:
    import netwright as nw
    from netwright.backends.onnxruntime import lower
    from netwright.data import as_batches

    program = nw.load(model)
    names = {value.name for value in program.inputs}
    batch = next(iter(as_batches(str(inputs), program)))
    return lower(program, threads=threads).run({name: array for name, array in batch.items() if name in names})


def _values(outputs: dict[str, np.ndarray], *, whole: bool) -> dict[str, dict[str, object]]:
    return {name: {"dtype": str(a.dtype), "shape": list(a.shape), "values": a.tolist() if whole else None} for name, a in outputs.items()}


def _table(outputs: dict[str, np.ndarray]) -> object:
    from rich.table import Table

    table = Table("output", "type", "shape", "min", "mean", "max")
    for name, found in outputs.items():
        numeric = found.size > 0 and found.dtype.kind in "fiub"
        figures = (float(found.min()), float(found.mean()), float(found.max())) if numeric else ()
        low, mean, high = (f"{figure:.5g}" for figure in figures) if figures else ("", "", "")
        table.add_row(name, str(found.dtype), "x".join(map(str, found.shape)) or "scalar", low, mean, high)
    return table
