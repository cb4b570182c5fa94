"""The functions of a user's day; each loads what it needs when called, so that importing netwright stays quick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike

    import numpy as np
    import onnx
    import onnx_ir
    import torch

    from netwright.catalog import PassInfo
    from netwright.compiling import Result
    from netwright.data import DataLike
    from netwright.debug import Comparison
    from netwright.frontends.torch import DynamicShapes
    from netwright.ir import Program
    from netwright.metrics import MetricLike
    from netwright.passes import Pipeline, Plan
    from netwright.passes.quantize.calibration import Statistics

    Source = str | PathLike[str] | bytes | onnx.ModelProto | onnx_ir.Model
    Traceable = torch.nn.Module | torch.export.ExportedProgram | torch.fx.GraphModule


def load(source: Source) -> Program:
    """Read an ONNX model into a Program; weights stay memory-mapped where they are.

    Args:
        source: path of an `.onnx` file, its bytes, an `onnx.ModelProto` or an `onnx_ir.Model`. Opsets 7 and up; below 18
            the model is converted to 20.

    Raises:
        ModelFileError: the file is missing, damaged, of another format, or reaches outside its folder.
        UnsupportedModelError: its operators or opset cannot be handled.
    """
    from netwright.frontends.onnx import load_onnx

    return load_onnx(source)


def trace(
    module: Traceable,
    args: Sequence[object],
    kwargs: Mapping[str, object] | None = None,
    *,
    dynamic_shapes: DynamicShapes | None = None,
    opset: int = 23,
    dropout: bool = False,
) -> Program:
    """Turn a PyTorch module into a Program; its parameters stay the original objects.

    Args:
        module: an `nn.Module`, an `ExportedProgram` or an `fx.GraphModule`.
        args: example inputs, positional.
        kwargs: example inputs by name.
        dynamic_shapes: as `torch.export.export` takes it; names of dimensions survive.
        opset: version of the ONNX operators to export to.
        dropout: export in train mode and keep Dropout, for training later.

    Raises:
        ExportError: torch cannot export it; the reason is torch's, shortened.
        MissingExtraError: torch or onnxscript is not installed.
    """
    from netwright.frontends.torch import trace as trace_module

    return trace_module(module, args, kwargs, dynamic_shapes=dynamic_shapes, opset=opset, dropout=dropout)


def compile(
    program_or_source: Program | Source,
    pipeline: str | Pipeline,
    *,
    target: str = "onnxruntime",
    calibration: DataLike | None = None,
    training: DataLike | None = None,
    metric: MetricLike | None = None,
    loss: str | Callable[..., object] | None = None,
    budget: Mapping[str, float] | None = None,
    check: bool | DataLike = False,
    seed: int = 0,
    threads: int | None = None,
    dims: Mapping[str, int] | None = None,
    plans: Mapping[str, Plan] | None = None,
    latency: bool = True,
) -> Result:
    """Rewrite a model with a pipeline of passes and lower it to a backend.

    The caller's program is not changed.

    Args:
        program_or_source: a Program, or anything that `load` takes.
        pipeline: such as `"simplify, quantize(scheme='dynamic')"`.
        target: what to compile for.
        calibration: unlabelled batches; any form that `netwright.data.as_batches` takes.
        training: labelled batches, likewise.
        metric: a function from `run(feeds) -> outputs` to a score (higher is better), or a built-in name.
        loss: name of the training loss, or a function; see `netwright.training.LossLike`.
        budget: limits by quantity: `params`, `macs`, `bytes`, `latency_ms` (up to 1 fractions of what there was before), `metric_drop`,
            `energy_uj` (of a sample, on a chip). A bare `prune` prunes until the first four are met.
        check: compare every stage with the original on these feeds, or with `True` on inputs made up from the signature.
        seed: the only source of randomness.
        threads: how many threads the backend uses.
        dims: values for symbolic dimensions, for MACs and latency; a name that no input or output has is an error.
        plans: plans to carry out instead of making them, by pass name.
        latency: measure latency before and after.

    Returns:
        The result: program, executable, report, plans.

    Raises:
        NetwrightError: each with its place and a remedy.
    """
    from netwright.compiling import compile_program

    return compile_program(
        program_or_source,
        pipeline,
        target=target,
        calibration=calibration,
        training=training,
        metric=metric,
        loss=loss,
        budget=budget,
        check=check,
        seed=seed,
        threads=threads,
        dims=dims,
        plans=plans,
        latency=latency,
    )


def calibrate(
    program_or_source: Program | Source,
    calibration: DataLike,
    *,
    pipeline: str | Pipeline = "",
    where: str | Sequence[str] = (),
    channels: Mapping[str, int] | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> Statistics:
    """Run a model on data, once and in bounded memory, and keep of its activations what static quantization needs.

    Args:
        program_or_source: a Program, or anything that `load` takes; left as it is.
        calibration: unlabelled batches; any form that `netwright.data.as_batches` takes.
        pipeline: passes to run first: statistics belong to one program, so give what will stand before `quantize`.
        where: patterns (`*`, `?`) of the activations wanted; all where not given.
        channels: axes by name of activations whose channels are wanted too.
        batch_size: samples to a batch, for arrays that hold all of them.
        limit: at most this many batches.
        seed: of what the pipeline draws.
        threads: how many threads run the model.

    Returns:
        The statistics; `save` writes them, `Statistics.load` reads them.

    Raises:
        NetwrightError: each with its place and a remedy.
    """
    from netwright.calibrating import calibrate_program

    return calibrate_program(
        program_or_source,
        calibration,
        pipeline=pipeline,
        where=where,
        channels=channels,
        batch_size=batch_size,
        limit=limit,
        seed=seed,
        threads=threads,
    )


def to_torch(program: Program, *, trainable: bool = True, share: bool = False, train_norms: bool = False) -> torch.fx.GraphModule:
    """Turn a Program into a differentiable `torch.fx.GraphModule`: outputs as ONNX defines them, parameters named as in the Program.

    Args:
        program: left as it is.
        trainable: float initializers become parameters that require gradients; a quantized program's integers are carried in floats,
            so that gradients pass straight through the rounding.
        share: parameters that are still the traced module's own are the same objects, not copies.
        train_norms: BatchNormalization takes its statistics from the batch while the module is in training mode.

    Returns:
        The module, in eval mode. It takes the inputs in order, or by name, and returns the output, or a tuple of them.

    Raises:
        UnsupportedModelError: operators that have no entry in `TORCH_OPS`; the message says how to add one.
        MissingExtraError: torch is not installed.
    """
    _require_torch()
    from netwright.backends.torch import lower_to_torch

    return lower_to_torch(program, trainable=trainable, share=share, train_norms=train_norms)


def write_back(program: Program, module: torch.fx.GraphModule, into_module: bool = False) -> Program:
    """A Program with the weights of a GraphModule that `to_torch` made and you trained.

    Args:
        program: the one that the module was made from, or one that it descends from through passes; left as it is.
        module: made by `to_torch`.
        into_module: also set the parameters of the `nn.Module` that the program was traced from, in place.

    Raises:
        NetwrightError: weights have no way back through the passes in between; they are listed, with the actions.
    """
    _require_torch()
    from netwright.backends.torch import write_back as write_back_weights

    return write_back_weights(program, module, into_module)


def save(program: Program, path: str | PathLike[str], *, sparse: bool = False) -> None:
    """Write a Program to an `.onnx` file: atomically, with untouched weights copied from file to file.

    Args:
        program: what to write.
        path: where; over 2 GB the weights go into a second file beside it.
        sparse: write weights with many zeros in compact form, a bit for each element and the others packed. ONNX Runtime opens such a
            file too, and makes its weights dense while it does: what shrinks is what is sent, not the time that a run takes.
    """
    from netwright.ir.storage import write_model

    write_model(program.model, path, sparse=sparse)


def passes() -> tuple[PassInfo, ...]:
    """Every pass that a pipeline can use, with its options, numerics and needs."""
    from netwright.catalog import catalog

    return catalog()


def compare(
    a: Program | Source,
    b: Program | Source,
    feeds: Mapping[str, np.ndarray] | None = None,
    *,
    values: Literal["outputs", "all"] = "outputs",
) -> Comparison:
    """Run two models on the same inputs and compare their values.

    Args:
        a: the reference.
        b: the other.
        feeds: inputs by name; made up from `a`'s signature where not given.
        values: the outputs, or all inner values that have a counterpart.
    """
    from netwright.debug import compare as compare_programs

    return compare_programs(a, b, feeds, values=values)


def _require_torch() -> None:
    """Say which extra is missing before anything else fails."""
    from importlib.util import find_spec

    from netwright.ir.errors import MissingExtraError

    if find_spec("torch") is None:
        raise MissingExtraError("torch is not installed.", place="torch", remedy='Run pip install "netwright[torch]".')
