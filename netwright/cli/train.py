"""`netwright train MODEL --training D --loss L -o OUT`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from netwright.cli.arguments import Json, Model, Seed, Sparse, Threads

if TYPE_CHECKING:
    from netwright.metrics import MetricLike
    from netwright.training.distill import Distill
    from netwright.training.feature_maps import FeatureMapPenalty
    from netwright.training.history import History
    from netwright.training.options import Device, Precision
    from netwright.training.terms import LossLike


def train(
    model: Model,
    training: Annotated[str, typer.Option(help="Batches, labels beside the inputs: an .npz or a folder of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")],
    loss: Annotated[str | None, typer.Option(help="cross_entropy, mse, cosine, ctc, bce, l1, nll, or module:function.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="How often to go through the data.")] = 1,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps, where it is not to be whole epochs.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    optimizer: Annotated[str, typer.Option(help="adamw, adam, sgd, rmsprop, or sparse, which makes zeros.")] = "adamw",
    penalty: Annotated[float | None, typer.Option(help="Of an optimizer that makes zeros, per unit of learning rate.")] = None,
    sparsity: Annotated[float | None, typer.Option(help="The share of zeros that such an optimizer is to reach.")] = None,
    schedule: Annotated[str, typer.Option(help="constant, linear, cosine.")] = "cosine",
    warmup: Annotated[float, typer.Option(help="Below 1 a share of the steps, else a number of steps.")] = 0.05,
    weight_decay: Annotated[float | None, typer.Option(help="Of tensors of rank 2 and more.")] = None,
    product_decay: Annotated[
        bool, typer.Option("--product-decay/--factor-decay", help="Decay the product of factored weights, or each factor.")
    ] = True,
    scale_rate: Annotated[
        float | None, typer.Option(help="Learning rate of quantizers' scales, as a multiple of that of weights; 0 leaves them.")
    ] = None,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradient; 0 for any.")] = 1.0,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Rows to a batch and process; 32 where not given.")] = None,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches to a step.")] = 1,
    precision: Annotated[str, typer.Option(help="float32, bfloat16, float16.")] = "float32",
    metric: Annotated[str | None, typer.Option(help="accuracy, agreement, cosine, mse, or module:function.")] = None,
    validation: Annotated[str | None, typer.Option(help="Data for the metric; without one, for the loss.")] = None,
    patience: Annotated[int | None, typer.Option(min=1, help="Stop after so many epochs without a better score.")] = None,
    teacher: Annotated[str | None, typer.Option(help="An .onnx file whose values are to be matched.")] = None,
    distill: Annotated[str | None, typer.Option(help="What is matched, such as \"hidden='auto', temperature=2.0\".")] = None,
    compressor: Annotated[str | None, typer.Option(help="A compressing pass, such as 'quantize(bits=2)'.")] = None,
    feature_maps: Annotated[
        str | None, typer.Option(help="A penalty on attention's feature maps, such as \"where='all', weight=3\".")
    ] = None,
    train_norms: Annotated[bool, typer.Option("--train-norms", help="Train norms with the statistics of each batch.")] = False,
    checkpoint: Annotated[Path | None, typer.Option(help="A folder for checkpoints.")] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(min=1, help="Steps between checkpoints; after each epoch where not given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint, if there is one.")] = False,
    device: Annotated[str, typer.Option(help="cpu, or auto for a GPU where there is one.")] = "auto",
    shard: Annotated[bool, typer.Option("--shard", help="Split weights over the processes that torchrun started.")] = False,
    sparse: Sparse = False,
    seed: Seed = 0,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Train a model: on labels, toward a teacher, or so that it survives compression.

    Several processes: torchrun --nproc_per_node 2 -m netwright train MODEL …
    """
    import netwright as nw
    from netwright.cli.arguments import read_function
    from netwright.cli.output import emit, note, show
    from netwright.ir.files import require_folders
    from netwright.ir.sparsity import transport
    from netwright.training.extra import require_extra
    from netwright.training.history import HISTORY

    require_folders(output)
    require_extra()
    from netwright.training import TrainingInterrupted
    from netwright.training import train as train_program

    program = nw.load(model)
    try:
        trained = train_program(
            program,
            training,
            loss=cast("LossLike | None", read_function(loss)),
            epochs=epochs,
            steps=steps,
            optimizer=optimizer,
            penalty=penalty,
            sparsity=sparsity,
            lr=lr,
            schedule=schedule,
            warmup=warmup,
            weight_decay=weight_decay,
            product_decay=product_decay,
            scale_rate=scale_rate,
            clip=clip or None,
            batch_size=batch_size,
            accumulate=accumulate,
            precision=cast("Precision", precision),
            metric=cast("MetricLike | None", read_function(metric)),
            validation=validation,
            patience=patience,
            teacher=None if teacher is None else nw.load(teacher),
            distill=_read_distill(distill),
            compressor=compressor,
            feature_maps=_read_feature_maps(feature_maps),
            train_norms=train_norms,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            resume=resume,
            device=cast("Device", device),
            shard=shard,
            seed=seed,
            threads=threads,
            progress=not json,
        )
    except TrainingInterrupted as stopped:
        note(str(stopped))
        raise
    if not _is_first_process():
        return
    nw.save(trained, output, sparse=sparse)
    history = cast("History", trained.resources[HISTORY])
    sent = transport(trained) if sparse else None
    if json:
        emit({"model": model, "output": str(output), **history.to_dict(), **({"transport": sent.to_dict()} if sent else {})})
        return
    show(_table(history))
    note(f"wrote {output}{f': {sent}' if sent else ''}")


def _table(history: History) -> object:
    """Loss and score in a few rows."""
    from rich.table import Table

    table = Table("", "first", "best", "last")
    losses, scores = history.losses, history.scores
    if losses:
        table.add_row(f"loss, {history.steps} steps", f"{losses[0]:.5g}", f"{min(losses):.5g}", f"{losses[-1]:.5g}")
    if scores:
        table.add_row(f"score, {len(scores) - 1} epochs", f"{scores[0]:.5g}", f"{max(scores):.5g}", f"{scores[-1]:.5g}")
    return table


def _read_distill(text: str | None) -> Distill | None:
    """Read `hidden='auto', temperature=2.0`.

    Raises:
        typer.BadParameter: text of another form.
    """
    from netwright.training.recover import read_distill

    return None if text is None else read_distill(_options(text, "--distill", "hidden='auto', temperature=2.0"))


def _read_feature_maps(text: str | None) -> FeatureMapPenalty | None:
    """Read `where='all', weight=3`.

    Raises:
        typer.BadParameter: text of another form.
    """
    from netwright.training.feature_maps import read_penalty

    return None if text is None else read_penalty(_options(text, "--feature-maps", "where='all', weight=3"))


def _options(text: str, option: str, example: str) -> dict[str, object]:
    """Read options by name.

    Raises:
        typer.BadParameter: text of another form.
    """
    import ast

    try:
        call = ast.parse(f"options({text})", mode="eval").body
        keywords = call.keywords if isinstance(call, ast.Call) and not call.args else []
        options = {str(keyword.arg): cast("object", ast.literal_eval(keyword.value)) for keyword in keywords}
    except (SyntaxError, ValueError):
        options = {}
    if not options:
        raise typer.BadParameter(f"{option} {text!r} is not of the form {example}.")
    return options


def _is_first_process() -> bool:
    """True unless torchrun started this process as another than the first."""
    import torch

    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
