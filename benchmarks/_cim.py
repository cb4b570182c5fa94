"""What the benchmarks of chips share: models with the passes that make them ready, compiled for a chip and for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

import netwright as nw
from benchmarks.zoo import Run, ZooModel, zoo
from netwright.backends.cim.executable import CimExecutable
from netwright.backends.cim.lowering import Bind
from netwright.backends.onnxruntime import Executable, lower
from netwright.compiling import Result
from netwright.passes import Context, run

INTEGERS = "simplify(opset=20), quantize(scheme='static'), fold"


@dataclass(frozen=True, slots=True)
class Job:
    """A model for chips.

    Attributes:
        kind: what sort of network it is.
        pipeline: passes to static integers.
        dims: values for symbolic dimensions but the batch.
        batch: samples that the simulator is given at once.
    """

    kind: str
    pipeline: str = INTEGERS
    dims: Mapping[str, int] = field(default_factory=dict[str, int])
    batch: int = 16


JOBS: Mapping[str, Job] = {
    "train_small_cnn": Job("CNN"),
    "digit_cnn": Job("CNN"),
    "train_small_resnet": Job("ResNet"),
    "ppocr_cls": Job("MobileNetV3, depthwise", dims={"_d1": 48, "_d2": 192}),
    "efficientnet_lite0": Job("MBConv, depthwise"),
    "train_small_transformer": Job("transformer encoder"),
    "train_small_lstm": Job("BiLSTM, unrolled", "simplify(opset=20), unroll, simplify, quantize(scheme='static'), fold"),
    "crepe_tiny": Job("1-D CNN"),
}


def integers(model: ZooModel, job: Job, samples: int = 16) -> Result:
    """The model in static integers, for ONNX Runtime."""
    dims = dict(job.dims)
    return nw.compile(model.onnx(), job.pipeline, calibration=model.feeds(samples), latency=False, threads=1, dims=dims)


def on_chip(result: Result, target: str, job: Job) -> CimExecutable:
    """The same integers, on a chip."""
    compiled = nw.compile(result.program, "", target=target, latency=False, threads=1, dims=dict(job.dims))
    executable = compiled.executable
    assert isinstance(executable, CimExecutable), "the target is a chip"
    return executable


def at_sizes(result: Result, job: Job) -> Executable:
    """The same integers for ONNX Runtime, with the sizes that the chip has.

    Where it knows sizes it fuses sums with the layer normalizations behind them, and rounds otherwise than where it does not.
    """
    bound = run(result.program, (Bind(),), Context(dims=job.dims)).program
    return lower(bound, threads=1)


def in_batches(executable: CimExecutable, batch: int) -> Run:
    """Feeds of any number of rows, run at most `batch` at a time."""

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = len(next(iter(feeds.values())))
        parts = [executable.run({name: array[at : at + batch] for name, array in feeds.items()}) for at in range(0, rows, batch)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return run


def chosen(names: list[str]) -> list[tuple[ZooModel, Job]]:
    """The jobs named; all where none is."""
    return [(zoo[name], JOBS[name]) for name in names or JOBS]
