"""Training in stages: each with its own model, teacher, data and loss (ERNIE-Tiny, arXiv 2106.02241: general data first, the task last).

    run_stages([
        Stage(name="general", model=small, teacher=reference, data=sentences, epochs=3),
        Stage(name="task", teacher=reference, data=labelled, loss="cross_entropy", epochs=3),
    ])

A stage without a model trains on with the one before. Every stage has checkpoints of its own: finished ones are taken up, the
interrupted one goes on inside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, cast

from netwright.ir.ledger import Miss
from netwright.ir.opinfo import is_float
from netwright.ir.program import Program
from netwright.training.distill import Distill
from netwright.training.errors import TrainingError
from netwright.training.history import HISTORY, History
from netwright.training.loop import fit
from netwright.training.options import TrainOptions
from netwright.training.training import choose_objective, make_score

if TYPE_CHECKING:
    from netwright.data import DataLike
    from netwright.metrics import MetricLike
    from netwright.training.compress import CompressorLike
    from netwright.training.feature_maps import FeatureMapPenalty
    from netwright.training.options import OptimizerLike
    from netwright.training.schedules import ScheduleLike
    from netwright.training.terms import LossLike

PREVIOUS = "previous"
"""As a teacher or a source of weights: the result of the stage before."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage. What is None is as in the stage before (the model) or as the whole run has it (data and options).

    Attributes:
        name: by which later stages mean its result; `stage1`, `stage2` … where empty.
        model: what is trained; the result of the stage before where not given.
        init_from: whose weights the model starts with, by name and shape: a program, `previous`, or the name of a stage; the model's own
            where not given.
        data: batches; see `train`.
        teacher: a program, `previous`, or the name of a stage; None to learn from labels alone.
        distill: what of the teacher is learned.
        loss: on labels.
        compressor: compress while training; the result is the compressed program.
        feature_maps: a penalty on attention's feature maps; see `train`.
        metric: rates the model, higher is better; the best epoch's weights are the result.
        validation: data for the metric.
        train_norms: train BatchNormalization with the statistics of each batch.
        epochs: see `train`, as all that follow.
        steps: decides where given.
        lr: highest learning rate.
        optimizer: a name, settings or a function.
        penalty: of an optimizer that makes zeros.
        sparsity: that such an optimizer is to reach.
        schedule: of the learning rate.
        warmup: of the learning rate.
        weight_decay: of tensors of rank 2 and more.
        product_decay: of the product of factors, not of each.
        scale_rate: of the scales of quantizers.
        clip: largest norm of the gradient.
        batch_size: rows to a batch.
        accumulate: batches to a step.
        patience: epochs without a better score.
    """

    name: str = ""
    model: Program | None = None
    init_from: Program | str | None = None
    data: DataLike | None = None
    teacher: Program | str | None = None
    distill: Distill | None = None
    loss: LossLike | None = None
    compressor: CompressorLike | None = None
    feature_maps: FeatureMapPenalty | Sequence[FeatureMapPenalty] | None = None
    metric: MetricLike | None = None
    validation: DataLike | None = None
    train_norms: bool = False
    epochs: int | None = None
    steps: int | None = None
    lr: float | None = None
    optimizer: OptimizerLike | None = None
    penalty: float | None = None
    sparsity: float | None = None
    schedule: ScheduleLike | None = None
    warmup: float | None = None
    weight_decay: float | None = None
    product_decay: bool | None = None
    scale_rate: float | None = None
    clip: float | None = None
    batch_size: int | None = None
    accumulate: int | None = None
    patience: int | None = None

    def options(self, run: TrainOptions, checkpoint: Path | None) -> TrainOptions:
        """The run's options with the stage's own; `epochs` of its own outweigh the run's `steps`."""
        names = {option.name for option in fields(TrainOptions)}
        own = {option.name: getattr(self, option.name) for option in fields(self) if option.name in names}
        given: dict[str, object] = {name: value for name, value in own.items() if value is not None}
        if "epochs" in given and "steps" not in given:
            given["steps"] = None
        return replace(run, checkpoint=checkpoint, **cast("dict[str, int]", given))


@dataclass(frozen=True, slots=True)
class StageResult:
    """What became of a stage.

    Attributes:
        name: of the stage.
        program: the trained model.
        misses: weights that `init_from` did not have, values that were not compared, tensors that were not compressed, with reasons.
    """

    name: str
    program: Program
    misses: tuple[Miss, ...] = ()

    @property
    def history(self) -> History:
        """Loss and score of its run."""
        return cast("History", self.program.resources[HISTORY])


def run_stages(
    stages: Sequence[Stage],
    options: TrainOptions | None = None,
    *,
    program: Program | None = None,
    data: DataLike | None = None,
    metric: MetricLike | None = None,
    validation: DataLike | None = None,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    cache: str | PathLike[str] | None = None,
) -> list[StageResult]:
    """Run stages one after the other.

    Args:
        stages: in order.
        options: for what a stage does not say.
        program: the first model, where the first stage has none.
        data: for stages without data of their own.
        metric: for stages without one.
        validation: data for the metric, likewise.
        checkpoint: a folder, in which every stage gets one (`options.checkpoint` does the same).
        resume: take up finished stages and go on in the interrupted one.
        cache: a folder for teachers' outputs. Without one, but with a folder of checkpoints, outputs are kept in there; hidden states and
            attention, which take much more room, are kept only if `cache` or `Distill(cache=…)` says so.

    Returns:
        A result for each stage; the last one's program is what was wanted.

    Raises:
        TrainingError: no stage; one without a model, data or anything to learn; a name that no earlier stage has.
        CheckpointError: checkpoints that are damaged or another run's.
    """
    base = replace(
        options or TrainOptions(),
        **({"checkpoint": checkpoint} if checkpoint is not None else {}),
        **({"resume": True} if resume else {}),
    )
    names = _names(stages)
    _check(stages, names, program, data)
    folder = None if base.checkpoint is None else Path(base.checkpoint)
    results: list[StageResult] = []
    for position, (stage, name) in enumerate(zip(stages, names, strict=True)):
        done = {result.name: result.program for result in results}
        before = results[-1].program if results else program
        place = None if folder is None else folder / f"stage-{position + 1:02d}-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}"
        run = _StageRun(stage, stage.options(base, place), done, before)
        kept = cache if cache is not None else None if folder is None else folder / "teachers"
        results.append(
            run.result(
                name,
                cast("DataLike", stage.data if stage.data is not None else data),
                stage.metric if stage.metric is not None else metric,
                stage.validation if stage.validation is not None else validation,
                cache=kept,
                everything=cache is not None,
            )
        )
    return results


def with_weights(model: Program, source: Program) -> tuple[Program, tuple[Miss, ...]]:
    """A model that starts with another's weights, by name and shape.

    Returns:
        A clone of the model, and its float tensors that the source does not have, or has in another shape.

    Raises:
        TrainingError: nothing fits.
    """
    theirs = {value.name: value.const_value for value in source.initializers() if value.const_value is not None}
    copy = model.clone()
    misses: list[Miss] = []
    taken = 0
    with copy.edit() as editor:
        for value in copy.initializers():
            own, name = value.const_value, value.name or ""
            if own is None or not is_float(own.dtype) or len(own.shape) == 0:
                continue
            other = theirs.get(name)
            if other is None or tuple(other.shape) != tuple(own.shape) or other.dtype != own.dtype:
                why = "has none of this name" if other is None else f"has it as {other.dtype.name.lower()} {other.shape}"
                misses.append(Miss(f"keeps its own weights {own.shape}: init_from {why}", name))
                continue
            editor.set_constant(value, other)
            taken += 1
    if not taken:
        raise TrainingError("Not one weight of init_from fits the model.", place="init_from", remedy="Names and shapes must be the same.")
    return copy, tuple(misses)


@dataclass(frozen=True, slots=True)
class _StageRun:
    """One stage with what came before it."""

    stage: Stage
    options: TrainOptions
    done: Mapping[str, Program]
    before: Program | None

    def result(
        self,
        name: str,
        data: DataLike,
        metric: MetricLike | None,
        validation: DataLike | None,
        *,
        cache: str | PathLike[str] | None,
        everything: bool,
    ) -> StageResult:
        """Train, or take up what was trained."""
        stage = self.stage
        model = stage.model if stage.model is not None else self.before
        assert model is not None
        source = self._meant(stage.init_from)
        model, misses = (model, ()) if source is None else with_weights(model, source)
        teacher = self._meant(stage.teacher)
        objective = choose_objective(
            model,
            loss=stage.loss,
            teacher=teacher,
            distill=self._distill(cache, everything=everything),
            compressor=stage.compressor,
            feature_maps=stage.feature_maps,
            train_norms=stage.train_norms,
            options=self.options,
        )
        score = make_score(objective, teacher or model, metric, validation, self.options)
        trained = fit(objective, data, self.options, score=score)
        left = (*misses, *objective.misses)
        trained.ledger.misses.extend(left)
        return StageResult(name, trained, left)

    def _meant(self, who: Program | str | None) -> Program | None:
        if who is None or isinstance(who, Program):
            return who
        return self.before if who == PREVIOUS else self.done[who]

    def _distill(self, cache: str | PathLike[str] | None, *, everything: bool) -> Distill | None:
        """What is learned of the teacher, its outputs kept in the folder."""
        if self.stage.teacher is None and self.stage.compressor is None:
            return None
        distill = self.stage.distill or Distill()
        only_outputs = distill.hidden is None and distill.attention is None and not distill.pairs
        if cache is None or distill.cache is not None or not (everything or only_outputs):
            return distill
        return replace(distill, cache=str(cache))


def _names(stages: Sequence[Stage]) -> list[str]:
    return [stage.name or f"stage{position + 1}" for position, stage in enumerate(stages)]


def _check(stages: Sequence[Stage], names: Sequence[str], program: Program | None, data: DataLike | None) -> None:
    """Refuse, before anything runs, what cannot run."""
    if not stages:
        raise TrainingError("There is no stage.", place="stages", remedy="Give at least one.")
    for position, (stage, name) in enumerate(zip(stages, names, strict=True)):
        earlier = names[:position]
        if name in earlier or name == PREVIOUS:
            raise TrainingError(
                f"Two stages are called {name}." if name in earlier else f"A stage cannot be called {name}.", place="stages"
            )
        if position == 0 and stage.model is None and program is None:
            raise TrainingError("The first stage has no model.", place=name, remedy="Give model=.")
        if stage.data is None and data is None:
            raise TrainingError("The stage has no data.", place=name, remedy="Give data=.")
        if stage.teacher is None and stage.loss is None and stage.compressor is None:
            raise TrainingError("The stage has nothing to learn from.", place=name, remedy="Give teacher=, loss= or compressor=.")
        if stage.distill is not None and stage.teacher is None and stage.compressor is None:
            raise TrainingError("The stage has nobody to learn from.", place=name, remedy="Give teacher= beside distill=.")
        for option in ("teacher", "init_from"):
            who: object = getattr(stage, option)
            if isinstance(who, str) and who not in (PREVIOUS, *earlier):
                listed = ", ".join((PREVIOUS, *earlier))
                raise TrainingError(f"{option} is {who!r}, and no earlier stage is called that.", place=name, remedy=f"There are {listed}.")
            if who == PREVIOUS and position == 0 and program is None:
                raise TrainingError(f"{option} is 'previous', and this is the first stage.", place=name, remedy="Give a program.")
