"""Runs another pruner on one form of one model in a process of its own, so that a crash of it is a cell of the table.

    python -m benchmarks._pruning_peers resnet dynamo simplified

prints one line of JSON. Torch-Pruning works on the module, onnxsim on the two kinds of `.onnx` files.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from benchmarks._coverage_models import COVERAGE_MODELS
from benchmarks._forms import Form, file_of
from benchmarks._pruned import Size, complaint, dims_at, size_of
from benchmarks.exports.export import quiet
from netwright.frontends.onnx import load_onnx
from netwright.frontends.torch import trace
from netwright.ir.storage import write_model

if TYPE_CHECKING:
    import onnx

    from tests.models import SmallModel

RATIO = 0.5
SECONDS, GIGABYTES = 120.0, 12
"""What a process may take."""
WAYS: dict[Form, tuple[str, ...]] = {
    "module": ("head features", "whole heads"),
    "dynamo": ("as exported", "simplified"),
    "torchscript": ("as exported", "simplified"),
}
"""How a peer can be used on a form: Torch-Pruning takes features of every head or whole heads; onnxsim the file, or its simplification."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What a peer made of a model.

    Attributes:
        way: how it was used.
        before: size of the model.
        after: size of the result; None where there is none.
        wrong: why there is no valid result; empty where there is.
    """

    way: str
    before: Size | None = None
    after: Size | None = None
    wrong: str = ""


def best(name: str, form: Form) -> Peer:
    """The smallest valid result of the ways to use the form's peer; where none is valid, the first way's failure."""
    found = [measure(name, form, way) for way in WAYS[form]]
    valid = [one for one in found if not one.wrong and one.after is not None]
    return min(valid, key=lambda one: one.after.params if one.after else 0) if valid else found[0]


def measure(name: str, form: Form, way: str) -> Peer:
    """Run a peer in a process of its own, with a limit on time and memory."""
    command = [sys.executable, "-m", "benchmarks._pruning_peers", name, form, way]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Peer(way, wrong=f"longer than {SECONDS:.0f} s")
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        return Peer(way, wrong=f"ended with {done.returncode}: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    told = cast("dict[str, dict[str, int | None] | None]", json.loads(lines[-1]))
    before, after = (Size(**cast("dict[str, int]", told[key])) if told[key] else None for key in ("before", "after"))
    return Peer(way, before, after, cast("str", told["wrong"]))


def _torch_pruning(model: SmallModel, way: str, result: Path) -> None:
    from benchmarks._torch_pruning import prune

    pruned = prune(model.module(), model.example(), ratio=RATIO, whole_heads=way == "whole heads")
    pruned(**model.example(batch=3, length=5))
    program = trace(pruned, kwargs=model.example(), dynamic_shapes=model.dynamic)
    write_model(program.model, result)


def _onnxsim(source: Path, way: str, result: Path) -> None:
    import onnx
    import onnxsim

    simplify = cast("Callable[[onnx.ModelProto], tuple[onnx.ModelProto, bool]]", onnxsim.simplify)
    channels = cast("Callable[[onnx.ModelProto, float], onnx.ModelProto]", onnxsim.apply_structured_pruning)
    heads = cast("Callable[[onnx.ModelProto, float], onnx.ModelProto]", onnxsim.apply_attention_head_pruning)
    model = onnx.load(source)
    if way == "simplified":
        model, _ = simplify(model)
    onnx.save(heads(channels(model, RATIO), RATIO), result)


def _run(name: str, form: Form, way: str, folder: Path) -> Peer:
    model = COVERAGE_MODELS[name]
    result = folder / "pruned.onnx"
    original = folder / "original.onnx"
    if form == "module":
        write_model(trace(model.module(), kwargs=model.example(), dynamic_shapes=model.dynamic).model, original)
    else:
        original = file_of(model, form)
    dims = dims_at(original, model.feeds(batch=1))
    before = size_of(load_onnx(original), dims)
    try:
        with quiet():
            _torch_pruning(model, way, result) if form == "module" else _onnxsim(original, way, result)
    except Exception as error:  # noqa: BLE001 (whatever a peer raises is its result)
        return Peer(way, before, wrong=said(error))
    wrong = complaint(result, original, [model.feeds(batch=2), model.feeds(batch=3, length=5)])
    after = None if wrong else size_of(load_onnx(result), dims_at(result, model.feeds(batch=1)))
    return Peer(way, before, after, wrong)


def said(error: BaseException) -> str:
    """An exception's class and first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__


def main() -> None:
    """Run the peer and print what came out as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES << 30, GIGABYTES << 30))
    name, form, way = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asdict(_run(name, cast("Form", form), way, Path(folder)))))


if __name__ == "__main__":
    main()
