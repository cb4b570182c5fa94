"""The export itself: torch's exporter in, a Program out."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Mapping, Sequence

import onnx_ir
import torch

from netwright.frontends.normalise import lift_constants
from netwright.frontends.origin import adopt
from netwright.frontends.torch.arguments import Examples, examples, name_dimensions
from netwright.frontends.torch.attention import translations
from netwright.frontends.torch.failures import explained
from netwright.frontends.torch.masks import widen_masks
from netwright.frontends.torch.modes import exporting
from netwright.frontends.torch.names import forget_output_shapes, name_outputs, output_paths, separate_outputs, unify_ties
from netwright.frontends.torch.quiet import quiet
from netwright.frontends.torch.recurrent import symbolic_recurrent_layers
from netwright.frontends.torch.sequences import split_into_tensors
from netwright.frontends.torch.trace import DynamicShapes
from netwright.ir.errors import ExportError
from netwright.ir.ledger import Miss
from netwright.ir.program import Program
from netwright.ir.shapes import infer

OLDEST_OPSET = 18
"""torch's translations are written against this operator set."""

RANDOM_OPERATORS = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"})
"""ONNX operators that draw numbers; Dropout is apart, since it can be stripped."""


def export(
    module: object,
    args: Sequence[object] | torch.Tensor,
    kwargs: Mapping[str, object],
    *,
    dynamic_shapes: DynamicShapes | None,
    opset: int,
    dropout: bool,
) -> Program:
    """See `netwright.frontends.torch.trace`."""
    if opset < OLDEST_OPSET:
        raise ExportError(
            f"opset {opset} is older than torch's exporter can write ({OLDEST_OPSET}).", place="opset", remedy="Use 18 to 25."
        )
    if isinstance(module, torch.export.ExportedProgram):
        return _from_exported(module, args, kwargs, dynamic_shapes, opset, dropout=dropout)
    if isinstance(module, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
        raise ExportError("A TorchScript module cannot be exported.", place="module", remedy="Trace the nn.Module that it was made from.")
    if not isinstance(module, torch.nn.Module):
        raise ExportError(
            f"trace takes an nn.Module, an fx.GraphModule or an ExportedProgram, not {type(module).__name__}.",
            place="module",
            remedy="Wrap a function in an nn.Module.",
        )
    return _from_module(module, args, kwargs, dynamic_shapes, opset, dropout=dropout)


def _from_module(
    module: torch.nn.Module,
    args: Sequence[object] | torch.Tensor,
    kwargs: Mapping[str, object],
    dynamic_shapes: DynamicShapes | None,
    opset: int,
    *,
    dropout: bool,
) -> Program:
    original = getattr(module, "_orig_mod", module)  # torch.compile's wrapper
    _refuse_valueless(original)
    given = examples(original, args, kwargs, dynamic_shapes)
    exported = _run(original, given, opset, dropout=dropout)
    random = _random_modules(exported.model) if dropout else []
    if random:
        exported = _run(original, given, opset, dropout=True, inference=random)
    program = _program(exported, given, original)
    program.ledger.misses.extend(
        Miss(f"{path} is random in training and no Dropout: kept in inference mode", path, "trace") for path in random
    )
    return program


def _from_exported(
    source: torch.export.ExportedProgram,
    args: Sequence[object] | torch.Tensor,
    kwargs: Mapping[str, object],
    dynamic_shapes: DynamicShapes | None,
    opset: int,
    *,
    dropout: bool,
) -> Program:
    if len(args) or kwargs:
        raise ExportError("An ExportedProgram carries its own example inputs.", place="args", remedy="Leave args and kwargs out.")
    own_args, own_kwargs = source.example_inputs or ((), {})
    given = examples(source.module(check_guards=False), own_args, own_kwargs, dynamic_shapes)
    exported = _to_onnx(source, "the ExportedProgram", opset, dropout=dropout)
    has_dropout = any(node.op_type == "Dropout" for node in exported.model.graph.all_nodes())
    if dropout != has_dropout:
        mode = "training" if has_dropout else "inference"
        raise ExportError(
            f"This ExportedProgram was exported in {mode} mode, dropout={dropout} asks for the other.",
            place="dropout",
            remedy="Export it from a module in that mode, or give trace the module itself.",
        )
    return _program(exported, given, source)


def _run(module: torch.nn.Module, given: Examples, opset: int, *, dropout: bool, inference: Sequence[str] = ()) -> torch.onnx.ONNXProgram:
    with quiet(), exporting(module, dropout=dropout, inference=inference), symbolic_recurrent_layers(), _any_size():
        try:
            captured = torch.export.export(module, given.args, given.kwargs, dynamic_shapes=given.shapes, strict=False)
        except Exception as error:
            raise explained(error, type(module).__name__) from error
    return _to_onnx(captured, type(module).__name__, opset, dropout=dropout)


def _any_size() -> contextlib.AbstractContextManager[None]:
    """Let a dynamic dimension be 0 or 1 in the examples without fixing it there, as torch.onnx does."""
    return torch.fx.experimental._config.patch(backed_size_oblivious=True)  # pyright: ignore


def _to_onnx(source: torch.export.ExportedProgram, what: str, opset: int, *, dropout: bool) -> torch.onnx.ONNXProgram:
    with quiet(), symbolic_recurrent_layers():
        try:
            exported = torch.onnx.export(
                source,
                opset_version=opset,
                custom_translation_table=translations() if dropout else None,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise explained(error, what) from error
    if exported is None:
        raise ExportError("torch exported nothing.", place=what, remedy="Report this, with the module.")
    reached = exported.model.opset_imports.get("", 0)
    if reached != opset:
        raise ExportError(
            f"torch's exporter cannot write opset {opset}: it gave {reached}.", place="opset", remedy="Use a version between 18 and 25."
        )
    return exported


def _program(exported: torch.onnx.ONNXProgram, given: Examples, source: torch.nn.Module | torch.export.ExportedProgram) -> Program:
    model = exported.model
    graph = model.graph
    unify_ties(model, _all_tensors(source))
    name_dimensions(graph.inputs, given.leaves)
    split_into_tensors(graph)
    widen_masks(graph)
    separate_outputs(graph)
    if exported.exported_program is not None:
        name_outputs(graph, output_paths(exported.exported_program))
    forget_output_shapes(graph)
    adopt(model)
    lift_constants(model)
    program = Program(model)
    program.ledger.misses.extend(infer(program))
    program.resources["torch.module"] = source
    program.resources["torch.parameters"] = dict(source.named_parameters())
    program.resources["torch.buffers"] = dict(source.named_buffers())
    return program


def _all_tensors(source: torch.nn.Module | torch.export.ExportedProgram) -> list[tuple[str, torch.Tensor]]:
    if isinstance(source, torch.nn.Module):
        return [*source.named_parameters(remove_duplicate=False), *source.named_buffers(remove_duplicate=False)]
    return [(name, tensor) for name, tensor in source.state_dict.items() if isinstance(tensor, torch.Tensor)]


def _refuse_valueless(module: torch.nn.Module) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_meta:
            raise ExportError(f"Parameter {name!r} is on the meta device and has no values.", place=name, remedy="Load the weights first.")


def _random_modules(model: onnx_ir.Model) -> list[str]:
    """Paths of the modules that draw random numbers by other means than Dropout."""
    paths: dict[str, None] = {}
    for node in model.graph.all_nodes():
        if node.op_type not in RANDOM_OPERATORS:
            continue
        scopes = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
        if len(scopes) > 1 and scopes[-2]:
            paths[scopes[-2]] = None
    return list(paths)
