"""ONNX's own node tests through `nw.to_torch`, beside onnx2torch: how many of the expected values come out.

`python -m benchmarks.torch_node_tests [NAME ...] [--json] [--reasons] [--no-peer]`; equal means within rtol 1e-3 and atol 1e-5 (or
the case's own tolerance where that is wider), of the same type and shape. Every case that does not come out is counted with its reason;
`--reasons` lists them by name.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import onnx
import torch
from onnx.backend.test.case.test_case import TestCase

from benchmarks.node_tests import RANDOM, cases, serialized
from benchmarks.table import Row, report
from netwright.backends.torch import lower_to_torch, to_array, to_tensor
from netwright.frontends.onnx import load_onnx
from netwright.ir.errors import NetwrightError

RTOL, ATOL = 1e-3, 1e-5

Run = Callable[[TestCase], list[object]]
"""Runs a case's model on its first data set."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case.

    Attributes:
        name: the case's name.
        equal: whether the expected values came out.
        reason: why not, in a line.
    """

    name: str
    equal: bool
    reason: str = ""


class Unequal(Exception):
    """The values are not the expected ones."""


def through_netwright(case: TestCase) -> list[object]:
    """Load, lower, run."""
    program = load_onnx(serialized(case))
    module = lower_to_torch(program, trainable=False)
    return _listed(module(*(as_torch(data) for data in _given(case, len(program.inputs)))))


def through_onnx2torch(case: TestCase) -> list[object]:
    """Convert, run."""
    from benchmarks._onnx2torch import convert

    assert case.model is not None
    module = convert(case.model)
    return _listed(module(*(as_torch(data) for data in _given(case, len(case.model.graph.input)))))


def outcome(case: TestCase, run: Run, *, expected_errors: tuple[type[Exception], ...]) -> Outcome:
    """Run a case and hold its outputs against the expected ones.

    Args:
        case: the case.
        run: through what.
        expected_errors: errors that count as a reason; others are raised.
    """
    if not case.data_sets:
        return Outcome(case.name, equal=False, reason="the case has no data")
    torch.manual_seed(0)
    try:
        with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            found = run(case)
            compare(case, found)
    except Unequal as error:
        return Outcome(case.name, equal=False, reason=f"values: {error}")
    except expected_errors as error:
        return Outcome(case.name, equal=False, reason=f"{type(error).__name__}: {_first_line(error)}")
    return Outcome(case.name, equal=True)


def compare(case: TestCase, found: Sequence[object]) -> None:
    """Hold outputs against the case's.

    Raises:
        Unequal: they differ; of random operators only type and shape are compared.
    """
    assert case.data_sets is not None
    assert case.model is not None
    wanted = cast("list[object]", case.data_sets[0][1])
    by_chance = any(node.op_type in RANDOM or _drops(node) for node in case.model.graph.node)
    if len(found) < len(wanted):
        raise Unequal(f"{len(found)} outputs instead of {len(wanted)}")
    for index, (one, other) in enumerate(zip(wanted, found, strict=False)):
        _compare_one(f"output {index}", one, other, case, values=not by_chance)


def _compare_one(what: str, wanted: object, found: object, case: TestCase, *, values: bool) -> None:
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(cast("list[object]", found)) != len(cast("list[object]", wanted)):
            raise Unequal(f"{what} is no list of {len(cast('list[object]', wanted))}")
        for index, (one, other) in enumerate(zip(cast("list[object]", wanted), cast("list[object]", found), strict=True)):
            _compare_one(f"{what}[{index}]", one, other, case, values=values)
        return
    if wanted is None:
        if found is not None:
            raise Unequal(f"{what} is not empty")
        return
    one = _array(wanted)
    dtype = onnx.TensorProto.DataType.Name(onnx.helper.np_dtype_to_tensor_dtype(one.dtype)) if one.dtype.kind != "O" else "STRING"
    if not isinstance(found, torch.Tensor):
        raise Unequal(f"{what} is a {type(found).__name__}")
    other = to_array(found)
    if dtype in ("INT4", "UINT4", "INT2", "UINT2"):
        other = other.astype(one.dtype)
    if one.dtype != other.dtype or one.shape != other.shape:
        raise Unequal(f"{what} is {other.dtype}{list(other.shape)} instead of {one.dtype}{list(one.shape)}")
    if not values:
        return
    if one.dtype.isbuiltin != 1:
        one, other = one.astype(np.float32), other.astype(np.float32)
    if one.dtype.kind in "fc":
        if not np.allclose(one, other, rtol=max(RTOL, case.rtol), atol=max(ATOL, case.atol), equal_nan=True):
            raise Unequal(f"{what} has other values")
    elif not np.array_equal(one, other):
        raise Unequal(f"{what} has other values")


def as_torch(data: object) -> object:
    """A case's input as torch has it."""
    if data is None:
        return None
    if isinstance(data, list):
        return [as_torch(item) for item in cast("list[object]", data)]
    array = _array(data)
    if array.dtype.kind in "OSU":
        raise NetwrightError("torch has no tensors of strings.")
    return to_tensor(np.array(array))


def _array(data: object) -> np.ndarray:
    return onnx.numpy_helper.to_array(data) if isinstance(data, onnx.TensorProto) else np.asarray(data)


def _given(case: TestCase, count: int) -> list[object]:
    assert case.data_sets is not None
    given = cast("list[object]", case.data_sets[0][0])
    return [*given, *([None] * (count - len(given)))]


def _listed(outputs: object) -> list[object]:
    return list(cast("tuple[object, ...]", outputs)) if isinstance(outputs, tuple) else [outputs]


def _drops(node: onnx.NodeProto) -> bool:
    return node.op_type == "Dropout" and len(node.input) > 2 and bool(node.input[2])


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}…"


def _kind(reason: str) -> str:
    """A reason without what is particular to a case."""
    return re.sub(r"\(%.*?\)|%\S+", "", reason)[:110]


def run_all(chosen: Iterable[TestCase]) -> list[Outcome]:
    """The outcomes through netwright. Only errors that netwright raises on purpose, or torch's own, count as reasons."""
    errors = (NetwrightError, RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError, AssertionError, ImportError)
    return [outcome(case, through_netwright, expected_errors=errors) for case in chosen]


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="cases to run, or the beginnings of their names; all by default")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--reasons", action="store_true", help="list every case that does not come out")
    parser.add_argument("--no-peer", action="store_true", help="netwright alone")
    options = parser.parse_args()
    chosen = [case for case in cases() if not options.names or any(case.name.startswith(name) for name in options.names)]
    ours = run_all(chosen)
    if options.json:
        print(json.dumps([asdict(one) for one in ours], indent=1))
        return
    rows: list[Row] = [{"through": "netwright to_torch", "cases": len(ours), "equal": sum(one.equal for one in ours)}]
    if not options.no_peer:
        peer = [outcome(case, through_onnx2torch, expected_errors=(Exception,)) for case in chosen]
        rows.append({"through": "onnx2torch", "cases": len(peer), "equal": sum(one.equal for one in peer)})
    report("ONNX node tests through torch", rows)
    failed = [one for one in ours if not one.equal]
    if options.reasons:
        for one in failed:
            print(f"{one.name}: {one.reason}")
        return
    for reason, count in Counter(_kind(one.reason) for one in failed).most_common():
        print(f"{count:5}  {reason}")


if __name__ == "__main__":
    main()
