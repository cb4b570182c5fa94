"""From a torch module to an `.onnx` file, the way its author would export it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.exports.export import quiet


@dataclass(frozen=True, slots=True)
class Traceable:
    """A module with what an exporter needs.

    Attributes:
        module: in evaluation mode.
        inputs: example tensors by the name of `forward`'s parameter.
        dynamic: for each input, the names of its dynamic axes.
        output: name of the first output.
    """

    module: torch.nn.Module
    inputs: dict[str, torch.Tensor]
    dynamic: dict[str, dict[int, str]]
    output: str


def export(traceable: Traceable, path: Path, opset: int) -> None:
    """Write `torch.onnx.export(dynamo=True)` of the module to `path`, weights inside, in one step that a kill cannot split."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.onnx")
    with quiet():
        torch.onnx.export(
            traceable.module,
            tuple(traceable.inputs.values()),
            partial,
            input_names=list(traceable.inputs),
            output_names=[traceable.output],
            dynamic_shapes=traceable.dynamic,
            opset_version=opset,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    partial.replace(path)
