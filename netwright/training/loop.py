"""The loop: an objective, data and options in, a trained Program out."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import torch

from netwright.training import processes
from netwright.training.checkpoints import CheckpointFolder, Json, Snapshot
from netwright.training.errors import CheckpointError, TrainingError, TrainingInterrupted
from netwright.training.extra import require_extra
from netwright.training.history import HISTORY
from netwright.training.interrupts import StopRequest, stop_requests
from netwright.training.optimizers import Settling, decay_of_products, make_optimizer
from netwright.training.progress import TrainingProgress, training_progress
from netwright.training.quantizer_steps import step_parameters
from netwright.training.randomness import seeded, with_own_draws
from netwright.training.run_state import RunState, check_same_run
from netwright.training.sampling import Part, Share, TrainingData
from netwright.training.saving import restore, snapshot
from netwright.training.schedules import learning_factor
from netwright.training.sharding import make_whole, set_tensors, shard, whole_parameters
from netwright.training.stepper import Stepper
from netwright.training.zeros import KeptZeros

if TYPE_CHECKING:
    from accelerate import Accelerator

    from netwright.data import DataLike
    from netwright.ir.program import Program
    from netwright.training.objective import Objective
    from netwright.training.options import TrainOptions


def fit(objective: Objective, data: DataLike, options: TrainOptions, *, score: Callable[[Program], float] | None = None) -> Program:
    """Minimise an objective.

    The same objective, data, options and number of threads give the same weights, also where the run is stopped and resumed.

    Args:
        objective: what to minimise; its module is trained in place.
        data: whatever `TrainingData` takes.
        options: how.
        score: rates a Program, higher is better: before training, after each epoch, and at the end. The weights of the best are the
            result; with an optimizer that makes zeros, the best of those that have them.

    Returns:
        The objective's product, with the run's `History` in `resources["training.history"]`.

    Raises:
        TrainingError: nothing to train, or a loss or gradient that is not finite.
        CheckpointError: a checkpoint to resume from that is damaged or another run's.
        DataError: data that does not fit.
        TrainingInterrupted: Ctrl-C, after a checkpoint if a folder was given.
        MissingExtraError: accelerate or safetensors is not installed.
    """
    require_extra()
    if options.patience is not None and score is None:
        raise TrainingError("patience needs a metric.", place="patience", remedy="Give metric= or validation=.")
    rows = TrainingData(data, objective.program, batch_size=options.batch_size)
    with ExitStack() as stack:
        accelerator = stack.enter_context(processes.accelerated(options))
        share = processes.share_of(accelerator)
        stack.enter_context(seeded(options.seed, share.rank, threads=options.threads))
        total = options.steps or options.epochs * rows.count(share, options.accumulate)
        shown = stack.enter_context(training_progress(total=total, shown=options.progress and share.rank == 0))
        stop = stack.enter_context(stop_requests())
        return _Run(objective, rows, options, score, accelerator, share, total, shown, stop).whole()


@dataclass(slots=True)
class _Run:
    """One run of the loop."""

    objective: Objective
    data: TrainingData
    options: TrainOptions
    score: Callable[[Program], float] | None
    accelerator: Accelerator
    share: Share
    total: int
    shown: TrainingProgress
    stop: StopRequest
    state: RunState = field(default_factory=RunState)
    folder: CheckpointFolder | None = None
    identity: Mapping[str, Json] = field(default_factory=dict[str, Json])
    optimizer: torch.optim.Optimizer = field(init=False)
    stepper: Stepper = field(init=False)

    def whole(self) -> Program:
        """Train from the start, or from the newest checkpoint, to the end."""
        module = self.objective.module
        was_training = module.training
        self._prepare(module)
        try:
            module.train()
            self._train()
        finally:
            self.accelerator.unwrap_model(self.stepper.prepared, keep_fp32_wrapper=False)
            module.train(was_training)
        make_whole(module)
        if self.state.stale():
            set_tensors(module, self.state.best_weights)
        product = self.objective.product()
        product.resources[HISTORY] = replace(self.state.history(), decayed_products=len(self.stepper.products.products))
        return product

    # ---- beginning -----------------------------------------------------------------------------------------------

    def _prepare(self, module: torch.nn.Module) -> None:
        saved = self._open_folder()
        if saved is not None:
            module.load_state_dict(dict(saved.tensors["module"]))
        if self.options.shard:
            shard(module, self.accelerator.device, self.share.count)
            prepared = module
        else:
            prepared = cast("torch.nn.Module", self.accelerator.prepare_model(module))
        products = decay_of_products(module, self.objective.program, self.options)
        self.optimizer = make_optimizer(module, self.objective.program, self.total, self.options, products)
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        if saved is not None:
            self.state = restore(saved, self.optimizer, self.accelerator)
        wrapped = self.accelerator.prepare_optimizer(self.optimizer)
        zeros = KeptZeros.of(module, self.objective.program)
        scales = frozenset(step_parameters(module))
        self.stepper = Stepper(self.objective, prepared, wrapped, self.accelerator, self.options, zeros, products, scales)

    def _open_folder(self) -> Snapshot | None:
        """Open the folder of checkpoints, if any, and find the one to go on from."""
        if self.options.checkpoint is None:
            return None
        self.folder = CheckpointFolder(self.options.checkpoint, keep=self.options.checkpoint_keep)
        self.identity = self._identity()
        if self.share.rank == 0:
            self.folder.clear_unfinished()
        self.accelerator.wait_for_everyone()
        if not self.options.resume:
            if self.folder.steps():
                raise CheckpointError(
                    "The folder holds checkpoints already.",
                    place=str(self.folder.path),
                    remedy="Give resume=True to go on from the newest, or another folder.",
                )
            return None
        saved = self.folder.load()
        if saved is not None:
            found = cast("Mapping[str, Json]", saved.facts["identity"])
            check_same_run(self.identity, found, str(self.folder.path))
        return saved

    def _identity(self) -> dict[str, Json]:
        """What a run that goes on must have in common with the one that stopped."""
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in self.objective.module.state_dict().items())
        return {
            **self.options.trajectory(),
            "objective": self.objective.describe(),
            "data": self.data.describe(),
            "processes": self.share.count,
            "weights": f"{zlib.crc32(shapes.encode()):08x}",
        }

    # ---- the course of it ----------------------------------------------------------------------------------------

    def _train(self) -> None:
        state = self.state
        if not state.step:
            self._rate()
        while (state.step < self.total or state.position) and not state.stopped_early:
            if state.step < self.total:
                self._run_epoch()
            state.epoch, state.position = state.epoch + 1, 0
            self._end_epoch()
        if not state.finished:
            state.finished = True
            self._save()

    def _run_epoch(self) -> None:
        """Make the steps that are left of an epoch, or of the run."""
        state, options = self.state, self.options
        steps = self.data.steps(seed=options.seed, epoch=state.epoch, share=self.share, accumulate=options.accumulate, skip=state.position)
        for parts in with_own_draws(steps, options.seed, state.epoch) if self.data.is_stream else steps:
            self._step(parts)
            if state.step >= self.total:
                return
        if not state.position:
            raise TrainingError("An epoch of the data has no step.", place="data", remedy="Give more data.")

    def _step(self, parts: tuple[Part, ...]) -> None:
        factor = learning_factor(self.options.schedule, self.state.step, self.total, self.options.warmup)
        result = self.stepper.step(parts, self.state.step, factor, self.stop)
        self.state.count(result.loss, result.parts)
        self.shown.step(self.state.step, result.loss)
        if result.stop:
            raise self._interrupted()
        every = self.options.checkpoint_every
        if every is not None and self.state.step % every == 0:
            self._save()

    def _end_epoch(self) -> None:
        self._rate()
        state, patience = self.state, self.options.patience
        state.stopped_early = patience is not None and state.stale() >= patience and state.step < self.total
        if self.options.checkpoint_every is None and state.step < self.total and not state.stopped_early:
            self._save()

    def _rate(self) -> None:
        """Score the weights of now; torch's generators stay where they are."""
        if self.score is None:
            return
        found = 0.0
        module = self.objective.module
        with whole_parameters(module):
            if self.share.rank == 0:
                with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
                    found = float(self.score(self.objective.product()))
            found = processes.from_main_process(found, self.accelerator)
            settled = not isinstance(self.optimizer, Settling) or self.optimizer.settled
            self.state.rate(found, module.state_dict(), eligible=settled)
        self.shown.score(found)

    # ---- checkpoints ---------------------------------------------------------------------------------------------

    def _save(self) -> str:
        """Write a checkpoint if there is a folder for it, and say where."""
        if self.folder is None:
            return ""
        taken = snapshot(self.state, self.objective.module, self.optimizer, self.accelerator, self.identity)
        if self.share.rank == 0:
            self.folder.save(taken)
        self.accelerator.wait_for_everyone()
        return str(self.folder.path)

    def _interrupted(self) -> TrainingInterrupted:
        where = self._save()
        after = f"Training was stopped after step {self.state.step} of {self.total}"
        if not where:
            return TrainingInterrupted(f"{after}; nothing was saved, since no folder for checkpoints was given.")
        return TrainingInterrupted(f"{after}; a checkpoint is in {where}. Give resume=True (--resume) to go on from it.")
