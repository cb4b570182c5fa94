"""Targets by name: what a program can be compiled for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from netwright.ir.errors import NetwrightError

if TYPE_CHECKING:
    import numpy as np

    from netwright.backends.onnxruntime import Executable
    from netwright.ir.program import Program
    from netwright.passes.context import Executor, Target
    from netwright.passes.kernels import Kernels


class Backend(Protocol):
    """Lowers programs to one target, runs and times them."""

    def target(self) -> Target:
        """What passes may know of the target."""
        ...

    def executor(self, threads: int | None) -> Executor:
        """Runs programs and hands out inner values."""
        ...

    def kernels(self) -> Kernels:
        """Tells which kernels programs become."""
        ...

    def lower(self, program: Program, *, threads: int | None) -> Executable:
        """Turn a program into its executable form."""
        ...

    def latencies(self, programs: Sequence[Program], feeds: Mapping[str, np.ndarray], *, threads: int | None) -> list[float]:
        """Best-of latency in ms of each program, measured in turns."""
        ...

    def turns(
        self, programs: Sequence[Program], feeds: Sequence[Mapping[str, np.ndarray]], *, threads: int | None, rounds: int, seconds: float
    ) -> list[list[float]]:
        """Latency in ms of each program, on its own feeds, turn by turn: the best run of each turn."""
        ...


class OnnxRuntimeBackend:
    """ONNX Runtime on the CPU."""

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

    def lower(self, program: Program, *, threads: int | None) -> Executable:
        """Make a session."""
        from netwright.backends.onnxruntime import lower

        return lower(program, threads=threads)

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


def backend_for(target: str) -> Backend:
    """The backend of a target's name.

    Raises:
        NetwrightError: there is none.
    """
    if target == "onnxruntime":
        return OnnxRuntimeBackend()
    raise NetwrightError(f"There is no target named {target}.", place="target", remedy="Targets: onnxruntime.")
