"""ONNX's own node tests through netwright: import, verify, dump, save, reload, and ONNX Runtime gives what it gave on the original.

`python -m benchmarks.node_tests [--pipeline simplify] [NAME ...]` prints, as imported and after each pipeline, how many there are,
how many ONNX Runtime runs as they are, how many come out the same, and every exception with its reason; `--json` prints every case.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir
from onnx.backend.test.case.test_case import TestCase

from netwright.frontends.onnx import load_onnx
from netwright.ir.dump import dump
from netwright.ir.errors import NetwrightError
from netwright.ir.program import Program
from netwright.ir.storage import read_model, saved_bytes, write_model
from netwright.ir.storage.tensors import graphs_of
from netwright.ir.verify import verify

if TYPE_CHECKING:
    import onnxruntime

SAME, CHECKED, DIFFERENT = "same", "checked", "different"
"""Outcomes: the same values; ONNX Runtime does not run the original, all else went well; netwright lost something."""

RANDOM = frozenset({"Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"})
"""Operators whose values differ from run to run: types and shapes are compared."""

Transform = Callable[[Program], Program]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one test case.

    Attributes:
        name: the case's name.
        variant: the transform's name; empty for the program as imported.
        status: `same`, `checked` or `different`.
        reason: where status is not `same`: what ONNX Runtime said of the original, or what went wrong.
    """

    name: str
    variant: str
    status: str
    reason: str = ""


class Unequal(Exception):
    """The reloaded model's values are not the original's."""


def cases() -> list[TestCase]:
    """ONNX's node test cases, each once, by name."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases divide by zero on purpose while they make their expected values
        found = collect_testcases()
    return sorted({case.name: case for case in found}.values(), key=lambda case: case.name)


def run_case(case: TestCase, folder: Path, transforms: Mapping[str, Transform] | None = None) -> Iterator[Outcome]:
    """Put one case through netwright, as it is and once with each transform; ONNX Runtime runs the original once.

    Args:
        case: the test case.
        folder: where files may be written.
        transforms: what happens to the program between verification and saving, by name, such as `simplify`.
    """
    assert case.model is not None
    original = _serialized(case)
    try:
        expected: list[object] | str = _run(original, case)
    except RuntimeError as error:
        expected = _first_line(error)
    for variant, transform in {"": None, **(transforms or {})}.items():
        yield _outcome(case, original, expected, folder / "case.onnx", variant, transform)


def _outcome(
    case: TestCase, original: bytes, expected: list[object] | str, path: Path, variant: str, transform: Transform | None
) -> Outcome:
    try:
        _through(original, path, transform)
        if isinstance(expected, str):
            return Outcome(case.name, variant, CHECKED, expected)
        _compare(case, expected, _run(path.read_bytes(), case))
    except (NetwrightError, Unequal, RuntimeError) as error:
        return Outcome(case.name, variant, DIFFERENT, _first_line(error))
    return Outcome(case.name, variant, SAME)


def _through(original: bytes, path: Path, transform: Transform | None) -> None:
    program = load_onnx(original)
    verify(program)
    before = dump(program)
    if transform is not None:
        program = transform(program)
        verify(program)
        before = dump(program)
    write_model(program.model, path)
    if path.stat().st_size != saved_bytes(program.model):
        raise Unequal("saved_bytes is not the size of the file")
    read_model(path)
    again = load_onnx(path)
    verify(again)
    if transform is None and _renumbered(dump(again)) != _renumbered(before):
        raise Unequal("the reloaded program's dump differs from the saved one's")


def _renumbered(text: str) -> str:
    """The dump with invented dimensions (`_d7`) numbered by first appearance: a reload invents other numbers."""
    numbers: dict[str, str] = {}
    return re.sub(r"\b_d\d+\b", lambda found: numbers.setdefault(found[0], f"_d{len(numbers)}"), text)


def _serialized(case: TestCase) -> bytes:
    """The case's model; the cases' own files claim an IR version newer than ONNX Runtime loads, which their content does not need."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    needed = onnx.helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.ir_version = min(model.ir_version, max(needed, 10))
    return model.SerializeToString()


# ---- ONNX Runtime ------------------------------------------------------------------------------------------------


def _run(model: bytes, case: TestCase) -> list[object]:
    """The outputs for the case's first data set. Whatever ONNX Runtime raises is a RuntimeError here."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    failures = (
        native.Fail,
        native.InvalidArgument,
        native.InvalidGraph,
        native.NotImplemented,
        native.RuntimeException,
        native.InvalidProtobuf,
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]
        given = [_array(data) for data in case.data_sets[0][0]]
        plain = all(
            value.type.startswith("tensor(") and value.type != "tensor(string)" for value in (*session.get_inputs(), *session.get_outputs())
        )
        if not plain:
            return list(session.run(None, {name: data for name, data in zip(names, given, strict=False) if data is not None}))
        feeds = {name: _value(data) for name, data in zip(names, given, strict=False) if isinstance(data, np.ndarray)}
        return [_fetched(value) for value in session.run_with_ort_values(None, feeds)]
    except (*failures, TypeError, ValueError) as error:
        raise RuntimeError(_first_line(error)) from error


def _array(data: object) -> object:
    if isinstance(data, onnx.TensorProto):
        return onnx.numpy_helper.to_array(data)
    return data if data is None or isinstance(data, list) else np.asarray(data)


def _value(array: np.ndarray) -> onnxruntime.OrtValue:
    """A tensor for ONNX Runtime, of types that numpy lacks too."""
    import onnxruntime

    if array.dtype.kind != "V" and array.dtype.isbuiltin == 1:
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    bits = np.dtype(f"u{array.dtype.itemsize}")
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(bits), onnx.helper.np_dtype_to_tensor_dtype(array.dtype))


def _fetched(value: onnxruntime.OrtValue) -> object:
    dtype = onnx_ir.DataType(value.element_type())
    if np.dtype(dtype.numpy()).isbuiltin == 1:
        return value.numpy()
    shape = tuple(value.shape())
    raw = ctypes.string_at(value.data_ptr(), -(-math.prod(shape) * dtype.bitwidth // 8)) if math.prod(shape) else b""
    return np.frombuffer(raw, dtype=np.uint8 if dtype.bitwidth < 16 else np.uint16)


# ---- comparison --------------------------------------------------------------------------------------------------


def _compare(case: TestCase, expected: list[object], got: list[object]) -> None:
    by_chance = any(node.op_type in RANDOM or _trains(node, case) for graph in _graphs(case) for node in graph.node)
    for index, (one, other) in enumerate(zip(expected, got, strict=True)):
        _equal(f"output {index}", one, other, values=not by_chance, rtol=case.rtol, atol=case.atol)


def _equal(what: str, one: object, other: object, *, values: bool, rtol: float, atol: float) -> None:
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            raise Unequal(f"{what} has {len(other)} elements instead of {len(one)}")
        for index, (inner, mine) in enumerate(zip(one, other, strict=True)):
            _equal(f"{what}[{index}]", inner, mine, values=values, rtol=rtol, atol=atol)
        return
    if one is None or other is None:
        if one is not other:
            raise Unequal(f"{what} is {other!r} instead of {one!r}")
        return
    a, b = np.asarray(one), np.asarray(other)
    if a.dtype != b.dtype or a.shape != b.shape:
        raise Unequal(f"{what} is {b.dtype}{list(b.shape)} instead of {a.dtype}{list(a.shape)}")
    if not values:
        return
    same = np.array_equal(a, b) if a.dtype.kind not in "fc" else np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
    if not same:
        raise Unequal(f"{what} has other values")


def _trains(node: onnx.NodeProto, case: TestCase) -> bool:
    return node.op_type == "Dropout" and len(node.input) > 2 and bool(node.input[2])


def _graphs(case: TestCase) -> Iterator[onnx.GraphProto]:
    assert case.model is not None
    yield from graphs_of(case.model)


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


# ---- report ------------------------------------------------------------------------------------------------------


def outcomes(chosen: Iterable[TestCase], transforms: Mapping[str, Transform] | None = None) -> Iterator[Outcome]:
    """The outcomes of each case, in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen:
            yield from run_case(case, Path(folder), transforms)


def pipeline_transform(text: str) -> Transform:
    """What pipeline text does to a program."""
    from netwright.passes.context import Context
    from netwright.passes.manager import run
    from netwright.passes.pipeline import Pipeline

    pipeline = Pipeline.parse(text)
    return lambda program: run(program, pipeline, Context()).program


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="cases to run; all by default")
    parser.add_argument("--pipeline", action="append", default=[], help="run each case with these passes too; by default 'simplify'")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    transforms = {text: pipeline_transform(text) for text in options.pipeline or ["simplify"]}
    chosen = [case for case in cases() if not options.names or case.name in options.names]
    found = list(outcomes(chosen, transforms))
    if options.json:
        print(json.dumps([asdict(outcome) for outcome in found], indent=1))
        return
    for variant in ("", *transforms):
        _print([outcome for outcome in found if outcome.variant == variant], variant, every=bool(options.names))


def _print(found: list[Outcome], variant: str, *, every: bool) -> None:
    counts = Counter(outcome.status for outcome in found)
    print(
        f"{variant or 'import and save'}: {len(found)} cases; ONNX Runtime runs {len(found) - counts[CHECKED]}; "
        f"same values: {counts[SAME]}; different: {counts[DIFFERENT]}"
    )
    for outcome in found:
        if outcome.status == DIFFERENT or every:
            print(f"  {outcome.name}: {outcome.status} {outcome.reason}")


if __name__ == "__main__":
    main()
