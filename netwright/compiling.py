"""`compile`: a program through a pipeline to a backend, with a report."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, cast

from netwright import api, metrics
from netwright.data import as_batches
from netwright.ir.errors import NetwrightError, PassCrash
from netwright.ir.program import Program
from netwright.passes.context import Context, Executor, Feeds, Loss
from netwright.passes.instruments import Instrument, OracleCheck
from netwright.passes.manager import Outcome, run
from netwright.passes.pipeline import Pipeline
from netwright.passes.plan import Plan
from netwright.passes.sizes import batch_name, calibrated_sizes, check_names
from netwright.report import Limit, Report, Stats, measure_size
from netwright.reproducer import attach_reproducer
from netwright.samples import find_feeds
from netwright.targets import Backend, backend_for
from netwright.training.gradients import TorchGradients
from netwright.training.sampling import TrainingData
from netwright.training.trainer import TorchTrainer

if TYPE_CHECKING:
    import numpy as np

    from netwright.data import DataLike
    from netwright.targets import Executable


@dataclass(frozen=True)
class Result:
    """What `compile` returns.

    Attributes:
        program: the rewritten program.
        report: before, after, pass by pass.
        plans: the plans that compressing passes carried out, by position in the pipeline.
        backend: what lowers it.
        threads: how many threads it runs on.
    """

    program: Program
    report: Report
    plans: Mapping[int, Plan]
    backend: Backend
    threads: int | None = None

    @cached_property
    def executable(self) -> Executable:
        """The program lowered to its backend."""
        return self.backend.lower(self.program, threads=self.threads)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run on the backend: outputs by name.

        Args:
            feeds: one array per input, by name.

        Raises:
            DataError: an input is missing, unknown, or of the wrong type or shape.
        """
        return self.executable.run(feeds)

    def save(self, path: str | PathLike[str], *, sparse: bool = False) -> None:
        """Write the program to an `.onnx` file, or what a chip runs to a `.nwcim` file, atomically.

        Args:
            path: where; over 2 GB the weights of an `.onnx` file go into a second file beside it.
            sparse: write weights with many zeros in compact form; see `netwright.save`.
        """
        self.backend.save(self.program, lambda: self.executable, path, sparse=sparse)
        self.report.output = str(path)


@dataclass(frozen=True)
class SampleTimer:
    """`Timer` of a pass's context: times a program on its backend, on inputs made up for it.

    Attributes:
        backend: that it runs on.
        feeds_for: makes up inputs.
        threads: worker threads.
    """

    backend: Backend
    feeds_for: Callable[[Program], Feeds]
    threads: int | None = None

    def time(self, program: Program) -> float:
        """Best-of latency in milliseconds for one run."""
        return self.backend.latencies([program], self.feeds_for(program), threads=self.threads)[0]

    def turns(self, programs: Sequence[Program], feeds: Sequence[Feeds], *, rounds: int, seconds: float) -> list[list[float]]:
        """Latency in ms of each program on its own feeds, turn by turn."""
        return self.backend.turns(programs, feeds, threads=self.threads, rounds=rounds, seconds=seconds)


def compile_program(
    program_or_source: Program | api.Source,
    pipeline: str | Pipeline,
    *,
    target: str,
    calibration: DataLike | None,
    training: DataLike | None,
    metric: metrics.MetricLike | None,
    loss: Loss | None,
    budget: Mapping[str, float] | None,
    check: bool | DataLike,
    seed: int,
    threads: int | None,
    dims: Mapping[str, int] | None,
    plans: Mapping[str, Plan] | None,
    latency: bool,
    instruments: Sequence[Instrument] = (),
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    name: str = "",
) -> Result:
    """`netwright.compile`, with instruments, input shapes and the model's name besides; see there."""
    file_name = Path(program_or_source).stem if isinstance(program_or_source, str | PathLike) else ""
    backend = backend_for(target, model=name or file_name)
    given_passes = pipeline if isinstance(pipeline, Pipeline) else Pipeline.parse(pipeline)
    parsed = Pipeline(backend.complete(given_passes.passes))
    limits = check_budget(budget, backend)
    program = program_or_source if isinstance(program_or_source, Program) else api.load(program_or_source)
    executor = backend.executor(threads)
    batches = None if calibration is None else as_batches(calibration, program)
    labelled = None if training is None else TrainingData(training, program)
    given = dims or {}
    check_names(program, given)
    bindings = backend.sizes(program, batches, given)
    kept = bindings if backend.fixes_sizes else given
    score = None if metric is None else metrics.resolve(metric, program, batches if batches is not None else labelled, executor)
    context = Context(
        calibration=batches,
        training=labelled,
        metric=score,
        loss=loss,
        original=program,
        target=backend.target(),
        budget=budget,
        seed=seed,
        threads=threads,
        dims=bindings,
        plans=plans or {},
        executor=executor,
        kernels=backend.kernels(),
        gradients=TorchGradients(threads=threads),
        trainer=TorchTrainer(seed=seed, threads=threads),
        timer=SampleTimer(
            backend, lambda one: find_feeds(one, executor, seed=seed, dims=kept, shapes=shapes, prefer=bindings), threads=threads
        ),
        samples=lambda one: [find_feeds(one, executor, seed=seed, dims=kept, shapes=shapes)],
    )
    tools = list(instruments)
    if check is not False:
        tools.append(OracleCheck(executor, sample_inputs(program, check, executor, seed=seed, dims=kept, shapes=shapes)))
    before = measure_size(program, bindings)
    started = time.perf_counter()
    outcome = run_with_reproducer(program, parsed, context, tools)
    seconds = time.perf_counter() - started
    after = measure_size(outcome.program, bindings)
    if score is not None:
        before.metric, after.metric = score(program), score(outcome.program)
    report = Report(before, after, outcome.rows, seconds, peak_rss_mb(), bindings)
    result = Result(outcome.program, report, outcome.plans, backend, threads)
    if latency:
        feeds = find_feeds(program, executor, seed=seed, dims=kept, shapes=shapes, prefer=bindings)
        before.latency_ms, after.latency_ms = backend.before_and_after(
            program, outcome.program, lambda: result.executable, feeds, threads=threads
        )
    if ENERGY in limits:
        feeds = _typical(program, context) or find_feeds(program, executor, seed=seed, dims=kept, shapes=shapes)
        after.energy_uj = backend.energy_uj(lambda: result.executable, feeds)
    report.budget = judge(limits, before, after)
    return result


def run_with_reproducer(
    program: Program,
    pipeline: Pipeline,
    context: Context,
    instruments: Sequence[Instrument],
    *,
    folder: str | None = None,
    until: str | None = None,
    verify_each: bool = False,
) -> Outcome:
    """Run a pipeline (`netwright.passes.run`); when a pass crashes, leave a folder that replays it and name it in the error."""
    try:
        return run(program, pipeline, context, instruments=instruments, until=until, verify_each=verify_each)
    except PassCrash as crash:
        attach_reproducer(crash, program, pipeline, context, folder)
        raise


def sample_inputs(
    program: Program,
    check: bool | DataLike,
    executor: Executor,
    *,
    seed: int,
    dims: Mapping[str, int],
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> list[Feeds]:
    """Feeds for oracle checks: the caller's, or made up from the program's signature."""
    if isinstance(check, bool):
        return [find_feeds(program, executor, seed=seed, dims=dims, shapes=shapes)]
    names = {value.name for value in program.inputs}
    feeds = [{key: value for key, value in batch.items() if key in names} for batch in as_batches(check, program)]
    return cast("list[Feeds]", feeds)


def _typical(program: Program, context: Context) -> Feeds | None:
    """The first batch of calibration data, where it has the sizes that names other than the batch's have."""
    sizes, batch = calibrated_sizes(program, context), batch_name(program, context.dims)
    if context.calibration is None or any(context.dims[name] != size for name, size in sizes.items() if name != batch):
        return None
    return next(iter(context.calibration), None)


ENERGY = "energy_uj"
QUANTITIES = ("params", "macs", "bytes", "latency_ms", ENERGY, "metric_drop")


def check_budget(budget: Mapping[str, float] | None, backend: Backend) -> Mapping[str, float]:
    """Refuse quantities that are unknown, or that the target does not tell.

    Raises:
        NetwrightError: the budget names one.
    """
    for quantity in budget or {}:
        if quantity == ENERGY and not backend.tells_energy:
            raise NetwrightError(
                "The target does not tell energy.", place="budget", remedy="Compile for a chip: target='cim:generic-28nm'."
            )
        if quantity not in QUANTITIES:
            raise NetwrightError(f"The budget has no quantity {quantity}.", place="budget", remedy=f"Quantities: {', '.join(QUANTITIES)}.")
    return budget or {}


def judge(limits: Mapping[str, float], before: Stats, after: Stats) -> tuple[Limit, ...]:
    """Hold the result against the budget; limits up to 1 are fractions of what there was before, where that was measured.

    Of the metric's drop and of energy there is no before: those limits are taken as they are.
    """
    drop = None if before.metric is None or after.metric is None else before.metric - after.metric
    values = {
        "params": after.params,
        "macs": after.macs,
        "bytes": after.bytes,
        "latency_ms": after.latency_ms,
        ENERGY: after.energy_uj,
        "metric_drop": drop,
    }
    was = {"params": before.params, "macs": before.macs, "bytes": before.bytes, "latency_ms": before.latency_ms}
    return tuple(
        Limit(quantity, limit if limit > 1 or (base := was.get(quantity)) is None else limit * base, values[quantity])
        for quantity, limit in limits.items()
    )


def peak_rss_mb() -> float:
    """Peak resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
