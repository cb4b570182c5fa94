"""`netwright bench A.onnx [B.onnx …]`."""

from __future__ import annotations

from typing import Annotated

import typer

from netwright.cli.arguments import Json, Seed, Shapes, Threads

_ROUNDS = 1_000_000
"""More than any budget of seconds allows: the time given decides."""


def bench(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=".onnx files; the first is the reference.")],
    inputs: Annotated[str | None, typer.Option("--input", "-i", help="An .npz with one array per input; made up where not given.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure each model.")] = 3.0,
    threads: Threads = 1,
    seed: Seed = 0,
    shape: Shapes = None,
    json: Json = False,
) -> None:
    """Measure latency: the models take turns; best-of, median, and the ratio to the first with its spread."""
    import netwright as nw
    from netwright.backends.onnxruntime import OrtExecutor, SessionOptions, lower, measure
    from netwright.cli.arguments import input_shapes
    from netwright.cli.output import emit, show
    from netwright.data import as_batches
    from netwright.ir.cost import default_bindings
    from netwright.samples import find_feeds

    first = nw.load(models[0])
    shapes, dims = input_shapes(shape, first)
    if inputs is not None:
        names = {value.name for value in first.inputs}
        feeds = {name: array for name, array in next(iter(as_batches(inputs, first))).items() if name in names}
    else:
        feeds = find_feeds(first, OrtExecutor(threads=threads), seed=seed, dims=dims, shapes=shapes, prefer=default_bindings(first))
    options = SessionOptions(threads=threads, stop_spinning=True)
    executables = [lower(nw.load(path), options=options) for path in models]
    rows = measure(executables, feeds, rounds=_ROUNDS, seconds=seconds * len(models))
    if json:
        found = [{"path": path, **row.to_dict()} for path, row in zip(models, rows, strict=True)]
        emit({"models": found, "threads": threads, "inputs": {name: list(array.shape) for name, array in feeds.items()}})
        return
    from rich.table import Table

    table = Table(
        "model", "best ms", "median ms", "ratio to first", "spread", title=", ".join(f"{n} {list(a.shape)}" for n, a in feeds.items())
    )
    for path, row in zip(models, rows, strict=True):
        table.add_row(path, f"{row.best_ms:.3f}", f"{row.median_ms:.3f}", f"{row.ratio_to_first:.3f}", row.spread_text)
    show(table)
