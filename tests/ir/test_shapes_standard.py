"""Shapes inferred for ONNX's own node tests must hold for the arrays that come with them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
import onnx
import onnx_ir
import pytest

from netwright.ir.dims import evaluate
from netwright.ir.program import Program
from netwright.ir.shapes import infer, shape_of, symbolic_data


@dataclass(frozen=True)
class Case:
    """One of ONNX's node tests, with its first set of arrays; what is no array (sequences, optionals) is None."""

    name: str
    model: onnx.ModelProto
    inputs: list[np.ndarray | None]
    outputs: list[np.ndarray | None]


@lru_cache(maxsize=1)
def _cases() -> list[Case]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases("")
    return [Case(case.name, case.model, *map(_arrays, case.data_sets[0])) for case in found if case.model is not None and case.data_sets]


def _arrays(values: Iterable[object]) -> list[np.ndarray | None]:
    return [cast("np.ndarray", value) if isinstance(value, np.ndarray) else None for value in values]


def _freeze(graph: onnx_ir.Graph, value: onnx_ir.Value, array: np.ndarray) -> None:
    """Make an input an initializer."""
    graph.inputs.remove(value)
    value.const_value = onnx_ir.tensor(array, name=value.name)
    graph.register_initializer(value)


def _prepare(model: onnx_ir.Model, arrays: list[np.ndarray | None], *, constants: bool, names: str) -> dict[str, int]:
    """Give the inputs named dimensions and make small integer ones constant; returns what the names stand for."""
    bindings: dict[str, int] = {}
    for position, (value, array) in enumerate(zip(list(model.graph.inputs), arrays, strict=False)):
        if array is None or not isinstance(value.type, onnx_ir.TensorType):
            continue
        if constants and array.dtype.kind in "iub" and array.size <= 64:
            _freeze(model.graph, value, array)
            continue
        if names == "none":
            continue
        dims = [f"n{size}" if names == "shared" else f"i{position}_{axis}" for axis, size in enumerate(array.shape)]
        bindings.update(zip(dims, array.shape, strict=True))
        value.shape = onnx_ir.Shape(dims)
    return bindings


@pytest.mark.parametrize(
    ("constants", "names"),
    [
        (True, "none"),
        (True, "apart"),
        (False, "shared"),
        pytest.param(False, "none", marks=pytest.mark.slow),
        pytest.param(False, "apart", marks=pytest.mark.slow),
        pytest.param(True, "shared", marks=pytest.mark.slow),
    ],
)
def test_no_inferred_dimension_or_content_contradicts_the_real_arrays(constants: bool, names: str) -> None:
    wrong: list[str] = []
    known = 0
    for case in _cases():
        model = onnx_ir.from_proto(case.model)
        bindings = _prepare(model, case.inputs, constants=constants, names=names)
        for value in model.graph.outputs:
            value.shape = None
        infer(Program(model))
        for value, array in zip(model.graph.outputs, case.outputs, strict=False):
            dims = shape_of(value)
            if array is None or dims is None:
                continue
            sizes = [evaluate(dim, bindings) for dim in dims]
            known += None not in sizes
            if len(sizes) != array.ndim or any(size not in (None, real) for size, real in zip(sizes, array.shape, strict=True)):
                wrong.append(f"{case.name}: {dims} is not {array.shape}")
            contents = [evaluate(dim, bindings) for dim in symbolic_data(value) or ()]
            if any(content not in (None, int(real)) for content, real in zip(contents, array.reshape(-1), strict=False)):
                wrong.append(f"{case.name}: {symbolic_data(value)} is not {array}")
    assert wrong == []
    assert known > 1150


def test_every_node_test_has_a_shape_rule_that_does_not_fail() -> None:
    misses = {case.name: infer(Program(onnx_ir.from_proto(case.model))) for case in _cases()}
    assert {name: found for name, found in misses.items() if found} == {}
