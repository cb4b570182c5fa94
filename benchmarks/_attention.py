"""A model with products of two values of the input on a chip: these on vector units, and written to arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import netwright as nw
from benchmarks._cim import Job, in_batches
from benchmarks.table import Row
from benchmarks.zoo import ZooModel
from netwright.backends.cim.executable import CimExecutable
from netwright.backends.cim.program.model import Write


def attention(model: ZooModel, job: Job, chip: str, samples: int, *, quick: bool) -> Iterator[Row]:
    """A row for each way: accuracy, energy of a sample by what takes it, latency, cells written."""
    original = model.original()
    for way in ("vector", "arrays"):
        pipeline = job.pipeline.replace("quantize(scheme='static'", f"quantize(scheme='static', attention='{way}'")
        result = nw.compile(
            model.onnx(),
            f"{pipeline}, crossbars(attention='{way}')",
            calibration=model.feeds(16),
            target=f"cim:{chip}",
            latency=False,
            threads=1,
            dims=dict(job.dims),
        )
        executable = result.executable
        assert isinstance(executable, CimExecutable), "the target is a chip"
        score = model.evaluate(in_batches(executable, job.batch), original=original, quick=quick).metrics[model.primary]
        feeds = model.feeds(samples, seed=1)
        executable.run({name: np.concatenate([one[name] for one in feeds]) for name in feeds[0]})
        cost, trace = executable.cost(), executable.trace
        assert trace is not None, "it has just run"
        parts: dict[str, float] = {}
        for layer in cost.layers.values():
            parts = {name: parts.get(name, 0.0) + layer.get(name, 0.0) for name in {**parts, **layer}}
        yield {
            "model": model.name,
            "attention": way,
            model.primary: round(score, 4),
            "µJ": cost.energy_pj / 1e6,
            "latency µs": cost.latency_ns / 1e3,
            "interval µs": cost.interval_ns / 1e3,
            **{f"{name} µJ": parts.get(name, 0.0) / 1e6 for name in ("vector units", "converters", "writes", "memory")},
            "writes": sum(isinstance(one, Write) for own in executable.chip.tiles.values() for one in own),
            "cells written": sum(one.cells_written for one in trace.activities.values()) // trace.samples,
        }
