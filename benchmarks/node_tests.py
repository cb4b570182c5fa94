"""ONNX's own node tests through netwright: import, verify, dump, save, reload, and ONNX Runtime gives what it gave on the original.

`python -m benchmarks.node_tests [--pipeline simplify] [NAME ...]` prints, as imported and after each pipeline, how many there are,
how many ONNX Runtime runs as they are, how many come out the same, and every exception with its reason; `--json` prints every case.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import onnx
from onnx.backend.test.case.test_case import TestCase

from netwright.backends.onnxruntime.binding import Session
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.frontends.onnx import load_onnx
from netwright.ir.dump import dump
from netwright.ir.errors import NetwrightError, RunError
from netwright.ir.program import Program
from netwright.ir.signature import pack
from netwright.ir.storage import read_model, saved_bytes, write_model
from netwright.ir.storage.tensors import graphs_of
from netwright.ir.verify import verify

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
    original = serialized(case)
    try:
        expected: list[np.ndarray] | str = _run(original, case)
    except RunError as error:
        expected = _first_line(error)
    for variant, transform in {"": None, **(transforms or {})}.items():
        yield _outcome(case, original, expected, folder / "case.onnx", variant, transform)


def _outcome(
    case: TestCase, original: bytes, expected: list[np.ndarray] | str, path: Path, variant: str, transform: Transform | None
) -> Outcome:
    try:
        _through(original, path, transform)
        if isinstance(expected, str):
            return Outcome(case.name, variant, CHECKED, expected)
        _compare(case, expected, _run(path.read_bytes(), case))
    except (NetwrightError, Unequal) as error:
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


def _model(case: TestCase) -> onnx.ModelProto:
    if case.model is None:
        raise ValueError(f"the node test case {case.name} has no model")
    return case.model


def serialized(case: TestCase) -> bytes:
    """The case's model; the cases' own files claim an IR version newer than ONNX Runtime loads, which their content does not need."""
    model = onnx.ModelProto()
    model.CopyFrom(_model(case))
    needed = onnx.helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.ir_version = min(model.ir_version, max(needed, 10))
    return model.SerializeToString()


# ---- ONNX Runtime ------------------------------------------------------------------------------------------------


def _run(model: bytes, case: TestCase) -> list[np.ndarray]:
    """The outputs for the case's first data set.

    Raises:
        RunError: ONNX Runtime refuses the model, or the data.
    """
    session = Session(model, SessionOptions(threads=1))
    given = [None if data is None else _array(data) for data in cast("list[object]", case.data_sets[0][0])] if case.data_sets else []
    feeds = {name: array for name, array in zip(session.inputs, given, strict=False) if array is not None}
    return list(session.run(feeds).values())


def _array(data: object) -> np.ndarray:
    if isinstance(data, onnx.TensorProto):
        return onnx.numpy_helper.to_array(data)
    return pack(cast("list[object]", data)) if isinstance(data, list) else np.asarray(data)


# ---- comparison --------------------------------------------------------------------------------------------------


def _compare(case: TestCase, expected: list[np.ndarray], got: list[np.ndarray]) -> None:
    by_chance = any(node.op_type in RANDOM or _trains(node, case) for graph in graphs_of(_model(case)) for node in graph.node)
    for index, (one, other) in enumerate(zip(expected, got, strict=True)):
        _equal(f"output {index}", one, other, values=not by_chance, rtol=case.rtol, atol=case.atol)


def _equal(what: str, one: np.ndarray, other: np.ndarray, *, values: bool, rtol: float, atol: float) -> None:
    if one.dtype != other.dtype or one.shape != other.shape:
        raise Unequal(f"{what} is {other.dtype}{list(other.shape)} instead of {one.dtype}{list(one.shape)}")
    if one.dtype == object:
        for index, (inner, mine) in enumerate(zip(one.reshape(-1), other.reshape(-1), strict=True)):
            _equal(f"{what}[{index}]", np.asarray(inner), np.asarray(mine), values=values, rtol=rtol, atol=atol)
        return
    if one.dtype.isbuiltin != 1 and one.dtype.kind not in "SU":
        one, other = one.astype(np.float32), other.astype(np.float32)
    exact = one.dtype.kind not in "fc"
    if values and not (np.array_equal(one, other) if exact else np.allclose(one, other, rtol=rtol, atol=atol, equal_nan=True)):
        raise Unequal(f"{what} has other values")


def _trains(node: onnx.NodeProto, case: TestCase) -> bool:
    return node.op_type == "Dropout" and len(node.input) > 2 and bool(node.input[2])


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
