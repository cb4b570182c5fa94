"""Judges a pruned model, whoever pruned it: is the file valid, how large is it, are its values those of the masked original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir

from benchmarks.zoo.sessions import Feeds, open_session
from netwright.ir.cost import cost, default_bindings
from netwright.ir.dims import shape_of
from netwright.ir.program import Program


@dataclass(frozen=True, slots=True)
class Size:
    """Parameters, and multiply-accumulates of one run (None where they are not known)."""

    params: int
    macs: int | None


def size_of(program: Program, dims: Mapping[str, int]) -> Size:
    """A program's size, its named dimensions being `dims`."""
    totals = program.fact(cost).totals({**default_bindings(program), **dims})
    return Size(totals.params, totals.macs)


def dims_at(path: Path, feeds: Feeds) -> dict[str, int]:
    """What a file's named dimensions are when it is given these feeds; of outputs too, whose names exporters make up."""
    outputs = run(path, feeds)
    graph = onnx.load(path, load_external_data=False).graph
    return {
        dim.dim_param: size
        for values, arrays in ((graph.input, feeds), (graph.output, outputs))
        for value in values
        if value.name in arrays
        for dim, size in zip(value.type.tensor_type.shape.dim, arrays[value.name].shape, strict=True)
        if dim.dim_param
    }


def run(path: Path, feeds: Feeds) -> Mapping[str, np.ndarray]:
    """A file's outputs by name on ONNX Runtime; of feeds, those that it has inputs for."""
    inputs = {value.name for value in onnx.load(path, load_external_data=False).graph.input}
    return open_session(path)({name: array for name, array in feeds.items() if name in inputs})


def complaint(path: Path, original: Path, batches: Sequence[Feeds]) -> str:
    """Why a file is not a valid version of the original; empty where it is.

    It must pass onnx's checker, run on every one of the feeds, which differ in their sizes, and give finite outputs of the
    original's shapes.
    """
    try:
        onnx.checker.check_model(str(path))
        for feeds in batches:
            found, expected = (list(run(one, feeds).values()) for one in (path, original))
            shapes, due = ([array.shape for array in arrays] for arrays in (found, expected))
            if shapes != due:
                return f"its outputs are {shapes}, not {due}"
            if not all(np.isfinite(array).all() for array in found if array.dtype.kind == "f"):
                return "its outputs are not finite"
    except Exception as error:  # noqa: BLE001 (whatever checker and runtime raise is what is wrong)
        lines = str(error).strip().splitlines() or [""]
        return f"invalid: {type(error).__name__}: {lines[0][:120]}"
    return ""


def difference(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], original: Mapping[str, np.ndarray] | None = None
) -> float:
    """The largest difference of an output from the expected one, relative to the largest element of the latter, or of the original's."""
    return max(
        float(np.abs(found[name] - array).max(initial=0.0)) / max(_largest(array), _largest((original or expected)[name]), 1e-12)
        for name, array in expected.items()
        if array.dtype.kind == "f"
    )


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0.0))


def dynamic_dims(program: Program) -> list[tuple[str, int, str]]:
    """The named dimensions of a program's inputs and outputs: value, axis, name."""
    return [
        (value.name or "", axis, str(dim))
        for value in (*program.inputs, *program.outputs)
        for axis, dim in enumerate(shape_of(value) or ())
        if isinstance(dim, onnx_ir.SymbolicDim)
    ]
