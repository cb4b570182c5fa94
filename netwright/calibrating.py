"""`calibrate`: statistics of a program's activations on data, to be saved and used again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from netwright import api
from netwright.data import as_batches
from netwright.ir.errors import DataError
from netwright.ir.program import Program
from netwright.passes.context import Context
from netwright.passes.planning import first_match
from netwright.passes.quantize.calibration import Statistics, activations, calibrate
from netwright.targets import backend_for

if TYPE_CHECKING:
    from netwright.data import DataLike
    from netwright.passes.pipeline import Pipeline


def calibrate_program(
    program_or_source: Program | api.Source,
    calibration: DataLike,
    *,
    pipeline: str | Pipeline,
    where: str | Sequence[str],
    channels: Mapping[str, int] | None,
    batch_size: int | None,
    limit: int | None,
    seed: int,
    threads: int | None,
) -> Statistics:
    """`netwright.calibrate`; see there."""
    program = program_or_source if isinstance(program_or_source, Program) else api.load(program_or_source)
    if pipeline:
        program = api.compile(program, pipeline, calibration=calibration, seed=seed, threads=threads, latency=False).program
    patterns = (where,) if isinstance(where, str) else tuple(where)
    names = [name for name in activations(program) if not patterns or first_match(patterns, (name,)) is not None]
    if not names:
        shown = ", ".join(patterns) or "none were asked for"
        raise DataError(f"No activation of floats is named so: {shown}.", place="where", remedy="See the names with netwright inspect.")
    batches = as_batches(calibration, program, batch_size=batch_size, limit=limit)
    context = Context(executor=backend_for("onnxruntime").executor(threads), seed=seed, threads=threads)
    return calibrate(program, names, context, channels=channels, batches=batches)
