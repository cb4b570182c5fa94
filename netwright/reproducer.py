"""Crash reproducers: a folder with the graph before the failing pass, the remaining pipeline and the versions.

The graph before the pass is made again from the caller's program by running the passes before it, which are
deterministic; so a run that does not crash pays nothing. Calibration and training data are not kept.
"""

from __future__ import annotations

import json
import platform
import tempfile
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, cast

from netwright.ir.errors import ModelFileError, NetwrightError, PassCrash
from netwright.ir.storage import write_model
from netwright.passes.manager import run
from netwright.passes.pipeline import Pipeline

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context

PACKAGES = ("netwright", "onnx", "onnx-ir", "onnx-shape-inference", "onnxruntime", "numpy", "torch")


def attach_reproducer(crash: PassCrash, program: Program, pipeline: Pipeline, context: Context, folder: str | None = None) -> None:
    """Write the reproducer of a crash and name its folder in the error.

    Args:
        crash: the error; its `pass_index` tells which pass failed.
        program: the program as given, unchanged.
        pipeline: the whole pipeline.
        context: what it ran with.
        folder: where to write; a new folder under the system's temporary one where not given.
    """
    index = crash.pass_index
    before = run(program, pipeline.passes[:index], context).program if index else program
    where = Path(folder) if folder else Path(tempfile.mkdtemp(prefix="netwright-repro-"))
    where.mkdir(parents=True, exist_ok=True)
    write_model(before.model, where / "before.onnx")
    facts = {
        "pipeline": str(Pipeline(pipeline.passes[index:])),
        "seed": context.seed,
        "dims": dict(context.dims),
        "had": [name for name in ("calibration", "training", "metric") if context.has(name)],
        "error": "".join(traceback.format_exception(crash.__cause__ or crash)),
        "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
    }
    (where / "repro.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    crash.reproducer = str(where)
    crash.remedy = f"This is a bug in the pass; your program is as it was. Replay it with: netwright opt --repro {where}"


def read_reproducer(folder: str | Path) -> tuple[Path, str, dict[str, int], int]:
    """The model, remaining pipeline, dimensions and seed of a reproducer.

    Raises:
        ModelFileError: the folder holds no reproducer.
    """
    where = Path(folder)
    try:
        facts: object = json.loads((where / "repro.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"There is no reproducer in this folder: {error}.", place=str(where)) from error
    if not isinstance(facts, dict) or "pipeline" not in facts:
        raise ModelFileError("repro.json is not a reproducer's.", place=str(where))
    known = cast("dict[str, object]", facts)
    dims = cast("dict[str, int]", known.get("dims", {}))
    seed = known.get("seed", 0)
    if not isinstance(seed, int):
        raise NetwrightError("repro.json has no valid seed.", place=str(where))
    return where / "before.onnx", str(known["pipeline"]), dims, seed


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
