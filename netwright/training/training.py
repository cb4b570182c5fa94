"""`train`: which objective is minimised follows from what was given; then the loop runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, TypedDict

from netwright.ir.errors import DataError
from netwright.training.errors import TrainingError
from netwright.training.extra import require_extra
from netwright.training.options import Device, Precision, TrainOptions
from netwright.training.schedules import ScheduleLike

if TYPE_CHECKING:
    from netwright.data import DataLike
    from netwright.ir.program import Program
    from netwright.metrics import MetricLike
    from netwright.training.compress import CompressorLike
    from netwright.training.distill import Distill
    from netwright.training.feature_maps import FeatureMapPenalty
    from netwright.training.objective import Objective
    from netwright.training.options import OptimizerLike
    from netwright.training.staged import Stage
    from netwright.training.terms import LossLike


def train(
    program: Program,
    data: DataLike | None = None,
    *,
    loss: LossLike | None = None,
    epochs: int = 1,
    steps: int | None = None,
    optimizer: OptimizerLike = "adamw",
    penalty: float | None = None,
    sparsity: float | None = None,
    lr: float | None = None,
    schedule: ScheduleLike = "cosine",
    warmup: float = 0.05,
    weight_decay: float | None = None,
    product_decay: bool = True,
    scale_rate: float | None = None,
    clip: float | None = 1.0,
    batch_size: int | None = None,
    accumulate: int = 1,
    precision: Precision = "float32",
    metric: MetricLike | None = None,
    validation: DataLike | None = None,
    patience: int | None = None,
    teacher: Program | None = None,
    distill: Distill | None = None,
    compressor: CompressorLike | None = None,
    feature_maps: FeatureMapPenalty | Sequence[FeatureMapPenalty] | None = None,
    stages: Sequence[Stage] | None = None,
    checkpoint: str | PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    checkpoint_keep: int = 2,
    resume: bool = False,
    seed: int = 0,
    threads: int | None = None,
    device: Device = "auto",
    shard: bool = False,
    train_norms: bool = False,
    progress: bool = False,
) -> Program:
    """Train a program: on labels, toward a teacher, so that it survives compression, or in stages.

    What is minimised follows from what is given. `loss`: a loss between outputs and labels. `teacher` or `distill`: the distance from a
    teacher's values, beside a `loss` if there is one. `compressor`: the distance of the compressed program from the teacher (the
    program as it came, if none is given); the result is the compressed program.

    The caller's program is not changed. Started with torchrun, each process trains on its share of the data.

    Args:
        program: what to train.
        data: batches with inputs by name, labels beside them; see `netwright.training.TrainingData`.
        loss: a name (`cross_entropy`, `mse`, `cosine`, `ctc`, `bce`, `l1`, `nll`), a function of (outputs by name, batch) on torch
            tensors, or one for each output; see `netwright.training.LossLike`.
        epochs: how often to go through the data.
        steps: how many steps to make, where it is not to be whole epochs.
        optimizer: `adamw`, `adam`, `sgd`, `rmsprop`; `sparse`, which makes zeros while it trains (with settings where wanted:
            `"sparse(method='proximal')"`); or a function from a list of parameters to an optimizer.
        penalty: for an optimizer that makes zeros: what pulls each weight towards zero, per unit of learning rate.
        sparsity: for such an optimizer: the share of zeros that it is to reach; it finds the penalty itself.
        lr: highest learning rate; the optimizer's own default where not given.
        schedule: `constant`, `linear`, `cosine`, or a function from (step, steps) to a factor.
        warmup: below 1 a share of the steps, else a number of steps.
        weight_decay: of tensors of rank 2 and more.
        product_decay: of weights that are a product of factors, decay the product, not each factor.
        scale_rate: learning rate of the scales of quantizers, as a multiple of that of weights; 0 leaves them as they are.
        clip: largest norm of the whole gradient; None for any.
        batch_size: rows to a batch and process.
        accumulate: batches to a step.
        precision: of the computation: `float32`, `bfloat16`, `float16`.
        metric: a built-in name or a function of `run`; higher is better. It is taken before training and after each epoch, and the
            best epoch's weights are the result (of the epochs that have the zeros, where zeros are made).
        validation: labelled data for a built-in metric; with no metric, its mean loss takes the metric's place.
        patience: stop after so many epochs without a better score.
        teacher: a program whose values are to be matched.
        distill: what is matched, and how.
        compressor: a compressing pass, such as `"quantize(bits=2)"`.
        feature_maps: a penalty on attention's feature maps, or several, beside the loss or the teacher; see `FeatureMapPenalty`.
        stages: train in stages, each with its own model, teacher, data and loss; data, metric, validation and the run's options hold for
            those that have none.
        checkpoint: a folder for checkpoints.
        checkpoint_every: steps between them; after each epoch where not given.
        checkpoint_keep: how many stay.
        resume: go on from the newest checkpoint in the folder, if there is one.
        seed: of everything random.
        threads: of torch on the CPU.
        device: `cpu`, or `auto` for a GPU where there is one.
        shard: split weights and the optimizer's state over the processes.
        train_norms: train BatchNormalization with the statistics of each batch.
        progress: show a progress bar on a terminal.

    Returns:
        The trained program; `resources["training.history"]` is its `History`, and its ledger's misses tell what could not be compared
        with a teacher or compressed.

    Raises:
        TrainingError: an option out of range; nothing to train; a loss that is not finite.
        CheckpointError: a checkpoint that is damaged or another run's.
        DataError: data that does not fit.
        UnsupportedModelError: an operator that the torch backend lacks.
        MissingExtraError: the extra `netwright[train]` is not installed.
    """
    options = TrainOptions(
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
        clip=clip,
        batch_size=batch_size,
        accumulate=accumulate,
        precision=precision,
        patience=patience,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        checkpoint_keep=checkpoint_keep,
        resume=resume,
        seed=seed,
        threads=threads,
        device=device,
        shard=shard,
        progress=progress,
    )
    require_extra()
    if stages is not None:
        from netwright.training.staged import run_stages

        _refuse_beside_stages(loss=loss, teacher=teacher, distill=distill, compressor=compressor, feature_maps=feature_maps)
        return run_stages(stages, options, program=program, data=data, metric=metric, validation=validation)[-1].program
    if data is None:
        raise DataError("There is no data to train on.", place="data", remedy="Give data=, or stages= with data of their own.")
    return train_with(
        program,
        data,
        options,
        loss=loss,
        metric=metric,
        validation=validation,
        teacher=teacher,
        distill=distill,
        compressor=compressor,
        feature_maps=feature_maps,
        train_norms=train_norms,
    )


def train_with(
    program: Program,
    data: DataLike,
    options: TrainOptions,
    *,
    loss: LossLike | None = None,
    metric: MetricLike | None = None,
    validation: DataLike | None = None,
    teacher: Program | None = None,
    distill: Distill | None = None,
    compressor: CompressorLike | None = None,
    feature_maps: FeatureMapPenalty | Sequence[FeatureMapPenalty] | None = None,
    train_norms: bool = False,
) -> Program:
    """`train`, with the options of the run put together; see there."""
    require_extra()
    from netwright.training.loop import fit

    objective = choose_objective(
        program,
        loss=loss,
        teacher=teacher,
        distill=distill,
        compressor=compressor,
        feature_maps=feature_maps,
        train_norms=train_norms,
        options=options,
    )
    score = make_score(objective, teacher or program, metric, validation, options)
    trained = fit(objective, data, options, score=score)
    trained.ledger.misses.extend(objective.misses)
    return trained


def _refuse_beside_stages(**given: object) -> None:
    """Say of what each stage has its own that it belongs there.

    Raises:
        TrainingError: it was given for the whole run.
    """
    for name, value in given.items():
        if value is not None:
            raise TrainingError(f"{name} was given beside stages, each of which has its own.", place=name, remedy=f"Give Stage({name}=…).")


class _Common(TypedDict):
    """What every objective takes."""

    train_norms: bool
    seed: int
    threads: int | None


def choose_objective(
    program: Program,
    *,
    loss: LossLike | None,
    teacher: Program | None,
    distill: Distill | None,
    compressor: CompressorLike | None,
    train_norms: bool,
    options: TrainOptions,
    feature_maps: FeatureMapPenalty | Sequence[FeatureMapPenalty] | None = None,
) -> Objective:
    """The objective that follows from what was given.

    Raises:
        TrainingError: neither a loss nor a teacher nor a compressor; a penalty on feature maps beside a compressor.
    """
    from netwright.training.feature_maps import FeatureMapPenalty

    penalties = (feature_maps,) if isinstance(feature_maps, FeatureMapPenalty) else tuple(feature_maps or ())
    if penalties and compressor is not None:
        raise TrainingError(
            "A penalty on feature maps does not go with a compressor.",
            place="feature_maps",
            remedy="Train with the penalty first, and compress the result.",
        )
    common: _Common = {"train_norms": train_norms, "seed": options.seed, "threads": options.threads}
    if compressor is not None:
        from netwright.training.compress import compression_objective

        return compression_objective(program, compressor, teacher, distill, loss, **common)
    if distill is not None and teacher is None:
        raise TrainingError("There is nobody to learn from.", place="distill", remedy="Give teacher=.")
    if teacher is not None:
        from netwright.training.distill import distillation_objective

        return distillation_objective(program, teacher, distill, loss, **common, penalties=penalties)
    if loss is None:
        raise TrainingError(
            "There is nothing to minimise.", place="loss", remedy="Give loss= (and labels), teacher= for distillation, or compressor=."
        )
    from netwright.training.labelled import LabelledObjective

    return LabelledObjective(program, loss, train_norms=train_norms, penalties=penalties)


def make_score(
    objective: Objective, reference: Program, metric: MetricLike | None, validation: DataLike | None, options: TrainOptions
) -> Callable[[Program], float] | None:
    """How programs are rated during a run: by a metric, by minus the loss on validation data, or not at all.

    Args:
        objective: what is minimised.
        reference: what `agreement` and `cosine` compare with.
        metric: see `train`.
        validation: see `train`.
        options: of the run.

    Raises:
        DataError: a built-in metric without data.
        TrainingError: the loss on validation data, with weights that are split over processes.
    """
    if metric is None and validation is None:
        return None
    from netwright import metrics
    from netwright.targets import backend_for
    from netwright.training.sampling import TrainingData
    from netwright.training.validation import validation_loss

    program = objective.program
    batches = None if validation is None else TrainingData(validation, program, batch_size=options.batch_size)
    if metric is None and batches is not None:
        if options.shard:
            raise TrainingError(
                "With split weights the loss on validation data is not to be had.", place="validation", remedy="Give metric=."
            )
        return validation_loss(objective, batches)
    if isinstance(metric, str) and batches is None:
        raise DataError(f"The metric {metric} needs data.", place="metric", remedy="Give validation=, with labels for accuracy.")
    assert metric is not None
    same_inputs = [value.name for value in reference.inputs] == [value.name for value in program.inputs]
    return metrics.resolve(metric, reference if same_inputs else program, batches, backend_for("onnxruntime").executor(options.threads))
