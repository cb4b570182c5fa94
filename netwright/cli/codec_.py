"""`netwright codec MODEL --calibration D`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from netwright.cli.arguments import Json, Model, Threads

if TYPE_CHECKING:
    from netwright.codec import MapReport, WeightBytes


def codec(
    model: Model,
    calibration: Annotated[str, typer.Option(help="Batches of inputs: an .npz or a folder of them.")],
    batches: Annotated[int, typer.Option(min=1, help="How many of them to look at.")] = 8,
    mask: Annotated[
        str | None, typer.Option(help="An input or inner value, not zero where a token counts; found by itself if not given.")
    ] = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure what coding a model's feature maps and integer weights would save: zeros, bytes, work that zeros need not do."""
    import netwright as nw
    from netwright.cli.output import emit, note, show
    from netwright.codec import measure_maps, measure_weights
    from netwright.data import as_batches
    from netwright.targets import backend_for

    program = nw.load(model)
    data = as_batches(calibration, program, limit=batches, batch_size=32)
    measured = measure_maps(program, data.feeds(), backend_for("onnxruntime").executor(threads), mask=mask)
    weights = measure_weights(program)
    if json:
        emit({"model": model, **measured.to_dict(), "weights": {"dense": weights.dense, "coded": weights.coded}})
        return
    show(_table(measured))
    note(_summary(measured, weights))


def _table(measured: MapReport) -> object:
    from rich.table import Table

    table = Table("map", "kind", "density", "zero by itself", "by threshold", "by rounding", "int8", "coded", "fewer", "MACs skipped")
    for one in (*measured.maps, measured.total()):
        if not one.elements:
            continue
        shares = [f"{count / one.elements:.1%}" for count in (one.zeros, one.by_threshold, one.by_rounding)]
        work = f"{one.skippable / one.macs:.1%}" if one.macs else ""
        table.add_row(one.name, one.kind, f"{one.density:.1%}", *shares, f"{one.elements:,}", f"{one.best:,}", f"{one.ratio:.2f}x", work)
    return table


def _summary(measured: MapReport, weights: WeightBytes) -> str:
    parts: list[str] = []
    cache, tokens = measured.cache, measured.positions
    if cache.elements and tokens:
        parts.append(
            f"keys and values of a token: {4 * cache.elements / tokens:,.0f} bytes as float32, {cache.elements / tokens:,.0f} as int8, "
            f"{cache.best / tokens:,.0f} coded"
        )
    if weights.weights:
        parts.append(f"{len(weights.weights)} integer weights: {weights.dense:,} bytes, {weights.coded:,} coded")
    return "; ".join(parts) or "neither feature maps nor integer weights were found"
