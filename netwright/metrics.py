"""Metrics: a user's function, or a built-in by name, as a score of a Program.

A metric is a function from `run` to a float, higher is better, where `run(feeds)` gives the outputs by name:

    def accuracy(run):
        return (run({"x": images})["logits"].argmax(1) == labels).mean()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from netwright.ir.errors import DataError, NetwrightError

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Executor, Metric

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
MetricFunction = Callable[[Run], float]
MetricLike = str | MetricFunction
Batch = Mapping[str, np.ndarray]


def resolve(metric: MetricLike, program: Program, batches: Iterable[Batch] | None, executor: Executor) -> Metric:
    """Make a score of programs from a function or a built-in name.

    Args:
        metric: a function of `run`, or a name in `BUILTIN`.
        program: the original, whose inputs name what is fed and whose outputs fidelity is measured against.
        batches: evaluation data for the built-in ones.
        executor: runs programs.

    Raises:
        NetwrightError: no built-in metric of this name.
        DataError: a built-in metric, and no data (or no labels) for it.
    """
    if not isinstance(metric, str):
        return lambda candidate: float(metric(lambda feeds: executor.run(candidate, feeds)))
    if metric not in BUILTIN:
        raise NetwrightError(
            f"There is no metric named {metric}.", place="metric", remedy=f"Built in: {', '.join(BUILTIN)}; or give a function of run."
        )
    if batches is None:
        raise DataError(
            f"The metric {metric} needs data.", place="metric", remedy="Give calibration= or training= (with labels for accuracy)."
        )
    names = [value.name or "" for value in program.inputs]
    data = [dict(batch) for batch in batches]
    score = BUILTIN[metric]
    reference = [executor.run(program, _inputs(batch, names)) for batch in data] if score in (_cosine, _agreement) else []

    def evaluate(candidate: Program) -> float:
        outputs = [executor.run(candidate, _inputs(batch, names)) for batch in data]
        return score(outputs, data, reference, names)

    return evaluate


Outputs = list[dict[str, np.ndarray]]
Score = Callable[[Outputs, list[dict[str, np.ndarray]], Outputs, list[str]], float]


def _inputs(batch: Batch, names: list[str]) -> dict[str, np.ndarray]:
    return {name: batch[name] for name in names if name in batch}


def _first(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    return next(iter(outputs.values()))


def _labels(batch: Mapping[str, np.ndarray], names: list[str]) -> np.ndarray:
    extra = [key for key in batch if key not in names]
    if not extra:
        raise DataError("The batches carry no labels.", place="metric", remedy="Add an array named `labels` beside the inputs.")
    return batch["labels"] if "labels" in extra else batch[extra[0]]


def _accuracy(outputs: Outputs, data: list[dict[str, np.ndarray]], reference: Outputs, names: list[str]) -> float:
    """Share of rows whose largest first output is the label."""
    hits = [_first(out).argmax(-1) == _labels(batch, names) for out, batch in zip(outputs, data, strict=True)]
    return float(np.concatenate([np.ravel(hit) for hit in hits]).mean())


def _mse(outputs: Outputs, data: list[dict[str, np.ndarray]], reference: Outputs, names: list[str]) -> float:
    """Minus the mean squared difference of the first output from the labels."""
    errors = [np.ravel((_first(out) - _labels(batch, names)) ** 2) for out, batch in zip(outputs, data, strict=True)]
    return -float(np.concatenate(errors).mean())


def _cosine(outputs: Outputs, data: list[dict[str, np.ndarray]], reference: Outputs, names: list[str]) -> float:
    """Mean cosine, over rows of the first output, with the original's."""
    cosines: list[np.ndarray] = []
    for out, ref in zip(outputs, reference, strict=True):
        a, b = (np.reshape(_first(side).astype(np.float64), (len(_first(side)), -1)) for side in (out, ref))
        scale = np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-30)
        cosines.append((a * b).sum(1) / scale)
    return float(np.concatenate(cosines).mean())


def _agreement(outputs: Outputs, data: list[dict[str, np.ndarray]], reference: Outputs, names: list[str]) -> float:
    """Share of rows whose largest first output is the original's."""
    hits = [np.ravel(_first(out).argmax(-1) == _first(ref).argmax(-1)) for out, ref in zip(outputs, reference, strict=True)]
    return float(np.concatenate(hits).mean())


BUILTIN: Mapping[str, Score] = {"accuracy": _accuracy, "agreement": _agreement, "cosine": _cosine, "mse": _mse}
"""Metrics by name; `agreement` and `cosine` compare with the original program and need no labels."""
