"""How long programs take, measured so that noise of the machine hits all alike.

Programs are timed in turns, A B A B …, each turn a few runs long; the ratio to the first is taken turn by turn, so that a slow
moment of the machine, which hits neighbours alike, cancels. The best of all runs says what the program can do; the median what
one may expect; the ratio's quartiles how much to believe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from netwright.backends.onnxruntime.executable import Executable
from netwright.backends.onnxruntime.lower import lower, with_threads
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.ir.pause import collector_paused
from netwright.ir.program import Program

Run = Callable[[], object]
Clock = Callable[[], float]
_TURN_SECONDS = 0.002
"""A turn repeats short runs up to about this long, so that caches are the program's own."""
_LONGEST_TURN = 50
_MILLI = 1e3


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one run takes, in milliseconds.

    Attributes:
        best_ms: the fastest run.
        median_ms: the median of turns.
        quartiles_ms: the first and third quartile of turns.
        ratio_to_first: time of this program over time of the first, median over turns: below 1 is faster.
        ratio_quartiles: the first and third quartile of that ratio.
        runs: how many runs were timed.
    """

    best_ms: float
    median_ms: float
    quartiles_ms: tuple[float, float]
    ratio_to_first: float
    ratio_quartiles: tuple[float, float]
    runs: int

    @property
    def spread_text(self) -> str:
        """The ratio's quartiles, for people."""
        return "{:.3f}–{:.3f}".format(*self.ratio_quartiles)

    def to_dict(self) -> dict[str, float | int | list[float]]:
        """The measurement as JSON."""
        return {
            "best_ms": self.best_ms,
            "median_ms": self.median_ms,
            "quartiles_ms": list(self.quartiles_ms),
            "ratio_to_first": self.ratio_to_first,
            "ratio_quartiles": list(self.ratio_quartiles),
            "runs": self.runs,
        }


def measure(
    executables: Sequence[Executable],
    feeds: Mapping[str, object] | Sequence[Mapping[str, object]],
    *,
    rounds: int = 30,
    warmup: int = 2,
    seconds: float | None = 10.0,
) -> list[Latency]:
    """Time programs against each other.

    Args:
        executables: what to time; load them with `stop_spinning` if they use several threads.
        feeds: one set for all, or one for each.
        rounds: turns that each program gets.
        warmup: runs before timing.
        seconds: stop after the round that passes this budget, however many rounds are left (at least one is made).

    Raises:
        DataError: the feeds do not fit a program.
        RunError: a program failed.
    """
    each = [feeds] * len(executables) if isinstance(feeds, Mapping) else list(feeds)
    return summaries(take_turns(executables, each, rounds=rounds, warmup=warmup, seconds=seconds))


def take_turns(
    executables: Sequence[Executable],
    feeds: Sequence[Mapping[str, object]],
    *,
    rounds: int = 30,
    warmup: int = 2,
    seconds: float | None = 10.0,
    clock: Clock = time.perf_counter,
) -> list[list[list[float]]]:
    """Seconds of every run of every turn, by program; as `measure`, which sums them up.

    Args:
        executables: what to time.
        feeds: one set for each.
        rounds: turns that each program gets.
        warmup: runs before timing.
        seconds: stop after the round that passes this budget.
        clock: seconds; `time.thread_time` counts the thread's work alone, which other processes disturb less. For one thread.
    """
    runs = [executable.bind(given) for executable, given in zip(executables, feeds, strict=True)]
    bursts = [_burst(run, warmup, clock) for run in runs]
    times: list[list[list[float]]] = [[] for _ in runs]
    started = time.perf_counter()
    with collector_paused():
        for _ in range(rounds):
            for position, run in enumerate(runs):
                times[position].append(_turn(run, bursts[position], clock))
            if seconds is not None and time.perf_counter() - started > seconds:
                break
    return times


def summaries(times: Sequence[Sequence[Sequence[float]]]) -> list[Latency]:
    """What the turns of programs say, each related to the first."""
    return [summary(own, times[0]) for own in times]


def _burst(run: Run, warmup: int, clock: Clock) -> int:
    """Warm up, and choose how many runs make a turn."""
    fastest = min(_turn(run, max(1, warmup), clock))
    return max(1, min(_LONGEST_TURN, round(_TURN_SECONDS / max(fastest, 1e-9))))


def _turn(run: Run, repeats: int, clock: Clock) -> list[float]:
    times: list[float] = []
    for _ in range(repeats):
        started = clock()
        run()
        times.append(clock() - started)
    return times


def summary(own: Sequence[Sequence[float]], first: Sequence[Sequence[float]]) -> Latency:
    """What the turns of one program say, related to those of the first; runs in seconds."""
    turns = [median(turn) for turn in own]
    ratios = [turn / median(other) for turn, other in zip(turns, first, strict=True)]
    low, high = _quartiles(turns)
    return Latency(
        best_ms=min(min(turn) for turn in own) * _MILLI,
        median_ms=median(turns) * _MILLI,
        quartiles_ms=(low * _MILLI, high * _MILLI),
        ratio_to_first=median(ratios),
        ratio_quartiles=_quartiles(ratios),
        runs=sum(len(turn) for turn in own),
    )


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(np.asarray(values), (0.25, 0.75))
    return float(low), float(high)


class OrtTimer:
    """Times programs one at a time, on fixed feeds.

    Args:
        feeds: what to run them on.
        threads: worker threads.
        rounds: turns each.
        seconds: budget each.
    """

    def __init__(self, feeds: Mapping[str, object], *, threads: int | None = 1, rounds: int = 20, seconds: float | None = 3.0) -> None:
        self._feeds = dict(feeds)
        self._options = with_threads(SessionOptions(stop_spinning=True), threads)
        self._rounds = rounds
        self._seconds = seconds

    def time(self, program: Program) -> float:
        """Best-of latency of one run in milliseconds.

        Raises:
            RunError: ONNX Runtime refuses the program, or it fails on the feeds.
        """
        executable = lower(program, options=self._options)
        return measure([executable], self._feeds, rounds=self._rounds, seconds=self._seconds)[0].best_ms
