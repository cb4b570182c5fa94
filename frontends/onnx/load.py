"""`load_onnx`: an ONNX model, in whatever form it comes, as a Program."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnx_ir
from onnx_ir.passes.common import InlinePass

from netwright.frontends.normalise import lift_constants, name_nodes, sort_nodes
from netwright.frontends.onnx.checks import OLDEST_OPSET, check
from netwright.frontends.origin import adopt
from netwright.ir.convert import CONVERT_BELOW, convert
from netwright.ir.errors import ModelFileError, UnsupportedModelError
from netwright.ir.expand import drop_expansions
from netwright.ir.ledger import Miss
from netwright.ir.pause import collector_paused
from netwright.ir.program import Program
from netwright.ir.shapes import infer
from netwright.ir.storage.reader import Skeleton, build, read_skeleton

WEIGHT_INPUTS = "onnx.weight_inputs"
"""Key in `Program.resources`: names of initializers that the file also listed as inputs, as IR versions below 4 had to."""

_IR_VERSION = 10
"""First IR version in which nodes carry metadata, which is where netwright keeps origins."""

_OVERRIDABLE_FROM = 4
"""First IR version in which an initializer need not be an input, so that one that is may be overridden by the caller."""


def load_onnx(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto | onnx_ir.Model, *, folder: str | os.PathLike[str] | None = None
) -> Program:
    """Load a model: opset 7 to today's, in-file or external weights, of any size.

    Weights stay in their files until someone reads them. Models below opset 18 are converted to opset 20. Constant nodes become
    initializers, exporters' notes on origins become netwright's, shapes are inferred anew: what the file says of inner values is
    not believed.

    Args:
        source: a path, a serialized model, or a model in memory (which is left as it is).
        folder: where external data lies, for models in memory; by default beside the file.

    Returns:
        The Program. Its ledger has a Miss for whatever was left out or has no shape rule.

    Raises:
        ModelFileError: the file is missing, damaged, of another format, contradicts itself or claims what it does not hold.
        UnsupportedModelError: it uses operators or versions that do not exist or cannot be converted.
    """
    _refuse_other_types(source)
    with collector_paused():
        if isinstance(source, onnx_ir.Model):
            return _finish(source.clone(), "<model>", [])
        skeleton = _skeleton(source, folder)
        _use_short_domain(skeleton.proto)
        check(skeleton.proto, skeleton.place)
        return _finish(build(skeleton), skeleton.place, skeleton.dropped)


def _refuse_other_types(source: object) -> None:
    if isinstance(source, str | os.PathLike | bytes | onnx.ModelProto | onnx_ir.Model):
        return
    module = type(source).__module__.partition(".")[0]
    raise ModelFileError(
        f"A {type(source).__name__} is not an ONNX model.",
        place=f"{type(source).__module__}.{type(source).__qualname__}",
        remedy="Use nw.trace(module, example_inputs) for a PyTorch module."
        if module == "torch" or hasattr(source, "named_parameters")
        else "Give a path, bytes, an onnx.ModelProto or an onnx_ir.Model.",
    )


def _skeleton(source: str | os.PathLike[str] | bytes | onnx.ModelProto, folder: str | os.PathLike[str] | None) -> Skeleton:
    if not isinstance(source, onnx.ModelProto):
        return read_skeleton(source if isinstance(source, bytes) else Path(source), folder=folder)
    try:
        data = source.SerializeToString()
    except ValueError as error:
        raise UnsupportedModelError(
            "The ModelProto is over protobuf's limit of 2 GB.", remedy="Save it with external data and load it from its path."
        ) from error
    return read_skeleton(data, folder=folder)


def _use_short_domain(proto: onnx.ModelProto) -> None:
    """The standard domain has two names, '' and 'ai.onnx'; the first is used from here on."""
    for entries in (proto.opset_import, *(function.opset_import for function in proto.functions)):
        for entry in entries:
            if entry.domain == "ai.onnx":
                entry.domain = ""


def _finish(model: onnx_ir.Model, place: str, dropped: list[str]) -> Program:
    weight_inputs = _drop_weight_inputs(model)
    drop_expansions(model)
    sort_nodes(model, place)
    if OLDEST_OPSET <= model.opset_imports.get("", CONVERT_BELOW) < CONVERT_BELOW:
        model = _raised(model)
    lift_constants(model)
    adopt(model)
    name_nodes(model)
    model.ir_version = max(model.ir_version, _IR_VERSION, _needed_ir_version(model))
    program = Program(model)
    program.resources[WEIGHT_INPUTS] = weight_inputs
    program.ledger.misses.extend(Miss(reason, place, "load") for reason in dropped)
    program.ledger.misses.extend(infer(program))
    return program


def _drop_weight_inputs(model: onnx_ir.Model) -> tuple[str, ...]:
    """Below IR version 4 every initializer had to be an input too; there it is a weight and no input."""
    if model.ir_version >= _OVERRIDABLE_FROM:
        return ()
    graph = model.graph
    weights = [value for value in graph.inputs if value.name in graph.initializers]
    for value in weights:
        graph.inputs.remove(value)
    return tuple(value.name or "" for value in weights)


def _raised(model: onnx_ir.Model) -> onnx_ir.Model:
    if model.functions:
        try:
            InlinePass()(model)
        except (ValueError, RuntimeError) as error:
            raise UnsupportedModelError(
                f"The model's functions cannot be inlined, which its conversion from opset {model.opset_imports['']} needs: {error}",
                remedy="Export the model to opset 18 or later.",
            ) from error
    lift_constants(model)
    return convert(model)


def _needed_ir_version(model: onnx_ir.Model) -> int:
    known = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items() if domain in ("", "ai.onnx.ml")]
    try:
        return onnx.helper.find_min_ir_version_for(known, ignore_unknown=True)
    except ValueError as error:
        raise ModelFileError(f"The model's operator set versions are unknown: {error}.", remedy="Upgrade the onnx package.") from error
