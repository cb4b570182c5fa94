"""Targets by name: what a program can be compiled for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from netwright.ir.errors import NetwrightError

if TYPE_CHECKING:
    import numpy as np

    from netwright.backends.cim.arch import Arch
    from netwright.backends.cim.executable import CimExecutable
    from netwright.backends.cim.program.model import Options
    from netwright.backends.cim.simulator.activity import Runner
    from netwright.ir.program import Program
    from netwright.ir.signature import Port
    from netwright.passes.base import Pass
    from netwright.passes.context import Executor, Feeds, Target
    from netwright.passes.kernels import Kernels


class Executable(Protocol):
    """A lowered program: it runs."""

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What `run` takes."""
        ...

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What `run` gives, in the program's order."""
        ...

    def run(self, feeds: Mapping[str, object]) -> dict[str, np.ndarray]:
        """Run once: outputs by name."""
        ...

    def bind(self, feeds: Mapping[str, object]) -> Callable[[], dict[str, np.ndarray]]:
        """A run with its feeds already checked."""
        ...


class Backend(Protocol):
    """Lowers programs to one target, runs and times them."""

    tells_energy: ClassVar[bool]
    """Whether `energy_uj` is known."""
    fixes_sizes: ClassVar[bool]
    """Whether named dimensions get numbers, so that a result takes no others."""

    def sizes(self, program: Program, calibration: Iterable[Feeds] | None, given: Mapping[str, int]) -> dict[str, int]:
        """A number for each named dimension of a program: what is given, or what else the target goes by."""
        ...

    def target(self) -> Target:
        """What passes may know of the target."""
        ...

    def executor(self, threads: int | None) -> Executor:
        """Runs programs and hands out inner values."""
        ...

    def kernels(self) -> Kernels | None:
        """Tells which kernels programs become; None where there are none to tell."""
        ...

    def complete(self, passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
        """A pipeline's passes with the target's own where they belong."""
        ...

    def lower(self, program: Program, *, threads: int | None) -> Executable:
        """Turn a program into its executable form."""
        ...

    def save(self, program: Program, executable: Callable[[], Executable], path: str | PathLike[str], *, sparse: bool) -> None:
        """Write the result: the program, or its executable form."""
        ...

    def latencies(self, programs: Sequence[Program], feeds: Mapping[str, np.ndarray], *, threads: int | None) -> list[float]:
        """Best-of latency in ms of each program, measured in turns."""
        ...

    def before_and_after(
        self, before: Program, after: Program, executable: Callable[[], Executable], feeds: Feeds, *, threads: int | None
    ) -> tuple[float | None, float | None]:
        """Latency in ms of one run, before and after; None for what does not run on the target."""
        ...

    def energy_uj(self, executable: Callable[[], Executable], feeds: Feeds) -> float | None:
        """Energy of one sample in µJ, from a run on these feeds; None where the target does not tell."""
        ...

    def turns(
        self, programs: Sequence[Program], feeds: Sequence[Mapping[str, np.ndarray]], *, threads: int | None, rounds: int, seconds: float
    ) -> list[list[float]]:
        """Latency in ms of each program, on its own feeds, turn by turn: the best run of each turn."""
        ...


class OnnxRuntimeBackend:
    """ONNX Runtime on the CPU."""

    tells_energy: ClassVar[bool] = False
    fixes_sizes: ClassVar[bool] = False

    def sizes(self, program: Program, calibration: Iterable[Feeds] | None, given: Mapping[str, int]) -> dict[str, int]:
        """Usual sizes, where none are given."""
        from netwright.ir.cost import default_bindings

        return {**default_bindings(program), **given}

    def target(self) -> Target:
        """What passes may know of the target."""
        from netwright.backends.onnxruntime import cpu_target

        return cpu_target()

    def executor(self, threads: int | None) -> Executor:
        """Runs programs and hands out inner values."""
        from netwright.backends.onnxruntime import OrtExecutor

        return OrtExecutor(threads=threads)

    def kernels(self) -> Kernels:
        """Tells which kernels programs become."""
        from netwright.backends.onnxruntime import OrtKernels

        return OrtKernels()

    def complete(self, passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
        """Unchanged: sessions take programs as they are."""
        return passes

    def lower(self, program: Program, *, threads: int | None) -> Executable:
        """Make a session."""
        from netwright.backends.onnxruntime import lower

        return lower(program, threads=threads)

    def save(self, program: Program, executable: Callable[[], Executable], path: str | PathLike[str], *, sparse: bool) -> None:
        """Write an `.onnx` file."""
        from netwright.ir.storage import write_model

        write_model(program.model, path, sparse=sparse)

    def before_and_after(
        self, before: Program, after: Program, executable: Callable[[], Executable], feeds: Feeds, *, threads: int | None
    ) -> tuple[float | None, float | None]:
        """Both, measured in turns."""
        first, second = self.latencies([before, after], feeds, threads=threads)
        return first, second

    def energy_uj(self, executable: Callable[[], Executable], feeds: Feeds) -> float | None:
        """None: a processor's energy is not measured."""
        return None

    def latencies(self, programs: Sequence[Program], feeds: Mapping[str, np.ndarray], *, threads: int | None) -> list[float]:
        """Best-of latency in ms of each program, measured in turns."""
        from netwright.backends.onnxruntime import SessionOptions, lower, measure

        options = SessionOptions(threads=threads, stop_spinning=True)
        executables = [lower(program, options=options) for program in programs]
        return [measured.best_ms for measured in measure(executables, feeds)]

    def turns(
        self, programs: Sequence[Program], feeds: Sequence[Mapping[str, np.ndarray]], *, threads: int | None, rounds: int, seconds: float
    ) -> list[list[float]]:
        """Latency in ms of each program, on its own feeds, turn by turn: the best run of each turn; of one thread, its CPU time."""
        from netwright.backends.onnxruntime import SessionOptions, lower
        from netwright.backends.onnxruntime.latency import take_turns

        options = SessionOptions(threads=threads, stop_spinning=True)
        executables = [lower(program, options=options) for program in programs]
        clock = time.thread_time if threads == 1 else time.perf_counter
        taken = take_turns(executables, feeds, rounds=rounds, seconds=seconds, clock=clock)
        return [[1e3 * min(turn) for turn in own] for own in taken]


@dataclass(frozen=True)
class CimBackend:
    """A compute-in-memory chip, simulated.

    Attributes:
        arch: the chip.
        options: of the mapping.
        name: of the model, for reports; the graph's own where it is empty.
    """

    arch: Arch
    options: Options
    name: str = ""
    tells_energy: ClassVar[bool] = True
    fixes_sizes: ClassVar[bool] = True

    def sizes(self, program: Program, calibration: Iterable[Feeds] | None, given: Mapping[str, int]) -> dict[str, int]:
        """Those of calibration data, or usual ones, where none are given; the batch is 1.

        Raises:
            DataError: a size that a chip's program cannot have.
        """
        from netwright.backends.cim.lowering.binding import bindings
        from netwright.passes.context import Context
        from netwright.passes.sizes import named_sizes

        context = Context(calibration=calibration, dims=given)
        bindings(program, context)
        return named_sizes(program, context)

    def target(self) -> Target:
        """What passes may know of the target."""
        from netwright.backends.cim.target import CimTarget

        return CimTarget(self.arch)

    def executor(self, threads: int | None) -> Executor:
        """Runs programs, lowered ones too, and hands out inner values."""
        from netwright.backends.cim.simulator.graph import GraphExecutor
        from netwright.backends.onnxruntime import OrtExecutor

        return GraphExecutor(region_runner, OrtExecutor(threads=threads))

    def kernels(self) -> Kernels | None:
        """None: a chip has no kernels to choose from."""
        return None

    def complete(self, passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
        """Sizes fixed, products put on crossbars: behind the pipeline, or before the first of its passes that asks for crossbars."""
        from netwright.backends.cim.lowering import complete

        return complete(passes)

    def lower(self, program: Program, *, threads: int | None) -> CimExecutable:
        """Map a lowered program to the chip's tiles."""
        from netwright.backends.cim.executable import CimExecutable
        from netwright.backends.cim.mapping import build

        return CimExecutable(build(program, self.arch, self.options, name=self.name or program.name), region_runner, threads=threads)

    def save(self, program: Program, executable: Callable[[], Executable], path: str | PathLike[str], *, sparse: bool) -> None:
        """Write the chip's program; the lowered graph where the file's name ends in `.onnx`."""
        from netwright.ir.storage import write_model

        if Path(path).suffix == ".onnx":
            write_model(program.model, path, sparse=sparse)
            return
        _on_chip(executable).save(Path(path))

    def latencies(self, programs: Sequence[Program], feeds: Mapping[str, np.ndarray], *, threads: int | None) -> list[float]:
        """Latency in ms of each program by the chip's schedule, at these feeds' sizes."""
        return [self._latency(program, feeds) for program in programs]

    def before_and_after(
        self, before: Program, after: Program, executable: Callable[[], Executable], feeds: Feeds, *, threads: int | None
    ) -> tuple[float | None, float | None]:
        """The result's latency by the schedule; the original, in floats, is nothing for the chip."""
        made = _on_chip(executable)
        return None, made.timeline.latency_ns / 1e6

    def energy_uj(self, executable: Callable[[], Executable], feeds: Feeds) -> float | None:
        """Of a sample, the mean over these feeds; of the first one where an output is no sample's own, which a batch cannot have."""
        made = _on_chip(executable)
        given = {port.name: feeds[port.name] for port in made.inputs}
        if any(_batch_axis(port) is None for port in made.outputs):
            given = {
                port.name: given[port.name] if (axis := _batch_axis(port)) is None else given[port.name].take([0], axis)
                for port in made.inputs
            }
        made.run(given)
        return made.cost().energy_pj / 1e6

    def turns(
        self, programs: Sequence[Program], feeds: Sequence[Mapping[str, np.ndarray]], *, threads: int | None, rounds: int, seconds: float
    ) -> list[list[float]]:
        """Latency in ms of each program by the chip's schedule: every turn is the same."""
        return [[self._latency(program, own)] * rounds for program, own in zip(programs, feeds, strict=True)]

    def _latency(self, program: Program, feeds: Mapping[str, np.ndarray]) -> float:
        from netwright.backends.cim.lowering import lower_graph
        from netwright.passes.context import Context

        lowered = lower_graph(program, Context(target=self.target(), calibration=[dict(feeds)]))
        return self.lower(lowered.program, threads=1).timeline.latency_ns / 1e6


def _batch_axis(port: Port) -> int | None:
    return next((axis for axis, size in enumerate(port.shape or ()) if not isinstance(size, int)), None)


def _on_chip(executable: Callable[[], Executable]) -> CimExecutable:
    from netwright.backends.cim.executable import CimExecutable

    made = executable()
    assert isinstance(made, CimExecutable), "lower() made it"
    return made


def region_runner(program: Program) -> Runner:
    """What runs a chip's regions: ONNX Runtime on one thread, bit for bit whatever else runs."""
    from netwright.backends.onnxruntime import SessionOptions, lower

    return lower(program, options=SessionOptions(threads=1)).run_fitted


def backend_for(target: str, *, model: str = "") -> Backend:
    """The backend of a target's text: `onnxruntime`, `cim:NAME` or `cim:FILE.yaml`, with `,duplicate=off` or `,pipeline=off` behind it.

    Args:
        target: the text.
        model: the model's name, for reports.

    Raises:
        NetwrightError: there is none.
    """
    kind, _, rest = target.partition(":")
    if target == "onnxruntime":
        return OnnxRuntimeBackend()
    if kind == "cim":
        return _chip(rest, model)
    remedy = "Targets: onnxruntime, cim, cim:NAME (`netwright cim archs` lists the chips)."
    raise NetwrightError(f"There is no target named {target}.", place="target", remedy=remedy)


def _chip(text: str, model: str) -> CimBackend:
    from netwright.backends.cim.arch import resolve
    from netwright.backends.cim.program.model import Options

    name, *settings = (part.strip() for part in text.split(","))
    chosen = {"duplicate": True, "pipeline": True}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in chosen or value not in _SWITCHES:
            raise NetwrightError(
                f"{setting!r} is no setting of a chip's mapping.", place="target", remedy="Settings: duplicate=on|off, pipeline=on|off."
            )
        chosen[key] = _SWITCHES[value]
    return CimBackend(resolve(name), Options(**chosen), name=model)


_SWITCHES = {"on": True, "off": False, "true": True, "false": False}
