"""Lowered programs run as graphs, without tiles: own operators by the engines, all else by what the caller brings.

This is what passes and benchmarks ask when they want a lowered program's values, or what its products cost the arrays, before
anything is mapped: the same integers as the simulator's, since tiles do not change them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import onnx_ir

from netwright.backends.cim import engines, ops
from netwright.backends.cim.engines.base import MvmCounts, Prepared
from netwright.backends.cim.ops.im2col import Im2Col
from netwright.backends.cim.ops.requantize import dtype_of
from netwright.backends.cim.program.batches import is_bound
from netwright.backends.cim.simulator.activity import RegionLoader, Runner
from netwright.backends.cim.simulator.kernels import patches, requantize
from netwright.backends.cim.simulator.stages import Stage, is_own, stages
from netwright.backends.cim.simulator.written import multiply_each
from netwright.ir.errors import DataError, RunError
from netwright.ir.opinfo import int_attr, site
from netwright.ir.program import Program, array
from netwright.passes.context import Executor

CHUNK = 32
"""Samples that go through the graph together, where not told otherwise."""


@dataclass(slots=True)
class Execution:
    """What a run of a lowered program gave.

    Attributes:
        values: the wanted ones, by name; samples along the first axis.
        counts: what arrays did, by the name of a product's sums.
        engines: how products were computed, likewise.
        samples: how many went through.
    """

    values: dict[str, np.ndarray]
    counts: dict[str, MvmCounts] = field(default_factory=dict[str, MvmCounts])
    engines: dict[str, str] = field(default_factory=dict[str, str])
    samples: int = 0


class GraphExecutor:
    """Runs lowered programs, and hands out any value (`passes.context.Executor`) and what products did on arrays.

    Lowered programs are of one sample; feeds with more along the first axis run as so many samples. The last program stays ready.

    Args:
        loader: makes something that runs of pieces of standard operators.
        whole: runs programs without own operators; they go to the loader, too, where it is left out.
        threads: of the engines.
        chunk: samples that go through together; results do not depend on it.
    """

    def __init__(self, loader: RegionLoader, whole: Executor | None = None, *, threads: int = 1, chunk: int = CHUNK) -> None:
        self._loader = loader
        self._whole = whole
        self._threads = threads
        self._chunk = max(1, chunk)
        self._last: _Ready | None = None

    def run(self, program: Program, feeds: Mapping[str, np.ndarray], wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The wanted values (the outputs where not given), inner ones included.

        Raises:
            DataError: an unknown value, or a missing or unfitting feed.
            RunError: an own operator cannot be run.
        """
        if self._whole is not None and not is_bound(program) and not any(is_own(node) for node in program.graph):
            return self._whole.run(program, feeds, wanted)
        return self.execute(program, feeds, wanted).values

    def execute(self, program: Program, feeds: Mapping[str, np.ndarray], wanted: Sequence[str] | None = None) -> Execution:
        """As `run`, with what arrays did."""
        names = tuple(value.name or "" for value in program.outputs) if wanted is None else tuple(wanted)
        if self._last is None or not self._last.serves(program, feeds, names):
            self._last = None
            self._last = _Ready(program, feeds, names, self._loader, self._threads)
        return self._last.run(feeds, self._chunk)


class _Ready:
    """One version of a program, for one choice of given and wanted values: regions loaded, weights prepared."""

    def __init__(
        self, program: Program, feeds: Mapping[str, np.ndarray], names: tuple[str, ...], loader: RegionLoader, threads: int
    ) -> None:
        self._key = (program.version, frozenset(feeds), names)
        self._program = program
        self._names = names
        self._threads = threads
        unknown = {name: array(program.graph.initializers.get(name)) for name in names if name not in feeds}
        self._constants = {name: known for name, known in unknown.items() if known is not None}
        computed = [name for name in names if name not in self._constants and name not in feeds]
        self._stages = stages(program, frozenset(feeds), computed)
        self._runners: list[Runner | None] = [None if one.region is None else loader(one.region) for one in self._stages]
        self._prepared: dict[onnx_ir.Node, Prepared] = {}

    def serves(self, program: Program, feeds: Mapping[str, np.ndarray], names: tuple[str, ...]) -> bool:
        """True when this is ready for such a run."""
        return self._program is program and self._key == (program.version, frozenset(feeds), names)

    def run(self, feeds: Mapping[str, np.ndarray], chunk: int) -> Execution:
        """All samples, a chunk at a time."""
        stacked, samples = stack(self._program, feeds)
        result = Execution({}, samples=samples)
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self._names if name not in self._constants}
        for first in range(0, samples, chunk):
            some = {name: v if len(v) == 1 else v[first : first + chunk] for name, v in stacked.items()}
            values = self._run_some(some, first, samples, min(chunk, samples - first), result)
            for name, part in parts.items():
                part.append(values[name])
        result.values = {name: self._constants[name] if name in self._constants else _joined(parts[name]) for name in self._names}
        return result

    def _run_some(self, given: Mapping[str, np.ndarray], first: int, samples: int, count: int, result: Execution) -> dict[str, np.ndarray]:
        values = dict(given)
        for stage, runner in zip(self._stages, self._runners, strict=True):
            if runner is not None:
                values.update(_run_region(stage, runner, values))
            for node in stage.own:
                name = node.outputs[0].name or ""
                values[name] = self._run_own(node, values, first, count, result)
        if count > 1 or samples > 1:
            values = {name: np.broadcast_to(v, (count, *v.shape[1:])) if len(v) != count else v for name, v in values.items()}
        return values

    def _run_own(self, node: onnx_ir.Node, values: Mapping[str, np.ndarray], first: int, count: int, result: Execution) -> np.ndarray:
        """An own operator on stacked samples [S, …]."""
        x = self._operand(node, 0, values)
        if node.op_type == "CrossbarMatMul":
            return self._multiply(node, x, values, first, count, result)
        if node.op_type == "Im2Col":
            found = patches(x.reshape(-1, *x.shape[2:]), Im2Col.of(node))
            return found.reshape(*x.shape[:2], *found.shape[1:])
        if node.op_type == "Requantize":
            bias, multiplier = self._operand(node, 1, values)[0], self._operand(node, 2, values)[0]
            low, high = int_attr(node, "low", 0), int_attr(node, "high", 0)
            return requantize(x, bias, multiplier, int_attr(node, "zero_point", 0), low, high, np.dtype(dtype_of(node)))
        raise RunError(
            f"{node.domain}.{node.op_type} is not an operator that runs on crossbars.",
            place=site(node),
            remedy="Expand it to standard operators first.",
        )

    def _operand(self, node: onnx_ir.Node, index: int, values: Mapping[str, np.ndarray]) -> np.ndarray:
        value = node.inputs[index]
        assert value is not None, "own operators leave no input out"
        known = values.get(value.name or "")
        if known is not None:
            return known
        found = array(value)
        if found is None:
            raise RunError(f"{value.name!r} is not there when {node.op_type} reads it.", place=site(node))
        return found[None]

    def _multiply(
        self, node: onnx_ir.Node, x: np.ndarray, values: Mapping[str, np.ndarray], first: int, count: int, result: Execution
    ) -> np.ndarray:
        weight = array(node.inputs[1])
        if weight is None:
            return self._multiply_each(node, x, values, first, count, result)
        prepared = self._prepared.get(node)
        if prepared is None:
            prepared = self._prepared[node] = engines.prepare(weight, ops.coding_of(node), threads=self._threads)
        rows = x.reshape(-1, x.shape[-1])
        start = first * (rows.shape[0] // x.shape[0])
        outcome = prepared.multiply(rows, numbers=np.arange(start, start + rows.shape[0], dtype=np.int64))
        _count(result, site(node), outcome.counts, count // x.shape[0], outcome.engine)
        return outcome.values.reshape(*x.shape[:-1], outcome.values.shape[-1])

    def _multiply_each(
        self, node: onnx_ir.Node, x: np.ndarray, values: Mapping[str, np.ndarray], first: int, count: int, result: Execution
    ) -> np.ndarray:
        """With weights that are computed, sample by sample."""
        w, coding = self._operand(node, 1, values), ops.coding_of(node)
        samples, vectors = max(len(x), len(w)), prod(x.shape[1:-1])
        numbers = np.arange(first * vectors, (first + samples) * vectors, dtype=np.int64)
        done = multiply_each(x, w, lambda part: engines.prepare(part, coding, threads=self._threads), numbers)
        _count(result, site(node), done.counts, count // samples, done.engine)
        return done.values.reshape(samples, *x.shape[1:-1], w.shape[-1])


def stack(program: Program, feeds: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """Feeds as samples [S, …one sample's shape]; S = 1 for what all samples share. And how many samples there are.

    Raises:
        DataError: the feeds do not have the same number of samples, or not the shape of one.
    """
    found: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for name, given in feeds.items():
        declared = program.value(name).shape
        data = np.asarray(given)
        if declared is None or len(declared) != data.ndim:
            raise DataError(f"The feed has {data.ndim} axes; the value is {declared}.", place=f"input {name}")
        if data.ndim == 0:
            found[name] = data[None]
            continue
        one = [size if isinstance(size, int) else None for size in declared]
        lead = one[0] if one[0] is not None else 1
        if data.shape[0] % max(1, lead) or any(want not in (None, got) for want, got in zip(one[1:], data.shape[1:], strict=True)):
            raise DataError(f"The feed is {list(data.shape)}; one sample is {declared}.", place=f"input {name}")
        counts[name] = data.shape[0] // max(1, lead)
        found[name] = data.reshape(counts[name], lead, *data.shape[1:])
    samples = max(counts.values(), default=1)
    for name, count in counts.items():
        if count not in (1, samples):
            raise DataError(
                f"The feed holds {count} samples, another {samples}.", place=f"input {name}", remedy="Feed as many of each, or one."
            )
    return found, samples


def _count(result: Execution, name: str, counts: MvmCounts, times: int, engine: str) -> None:
    found = result.counts.setdefault(name, MvmCounts())
    for _ in range(times):  # what does not depend on the sample is still done for each
        found.add(counts)
    result.engines[name] = engine


def _run_region(stage: Stage, runner: Runner, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A region on each sample; on one alone, where nothing that it reads depends on the sample."""
    inputs = {name: values[name] for name in stage.inputs}
    count = max((len(v) for v in inputs.values()), default=1)
    results = [runner({name: np.asarray(v[n if len(v) > 1 else 0]) for name, v in inputs.items()}) for n in range(count)]
    return {name: np.stack([one[name] for one in results]) for name in stage.outputs}


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Samples [S, A, …] → [S·A, …]; what has no axis becomes [S], or stays as it is for one sample."""
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if whole.ndim == 1:
        return whole if len(whole) > 1 else whole[0]
    return whole.reshape(whole.shape[0] * whole.shape[1], *whole.shape[2:])
